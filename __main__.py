"""Lets ``python -m sendplan`` stand for the ``sendplan`` command."""

from sendplan.cli import run

if __name__ == "__main__":
    run()
