"""Lets ``python -m sendplan`` stand for the ``sendplan`` command."""

from sendplan.cli import main

if __name__ == "__main__":
    main()
