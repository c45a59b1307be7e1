"""What ``python benchmarks`` runs: the nightly run at all sizes."""

from sendplan.benchmarks import nightly

if __name__ == "__main__":
    nightly.main()
