"""Coverage-guided fuzzing of the OCPP-J session, for as long as you like; optional.

    python -m venv /tmp/fuzz && /tmp/fuzz/bin/pip install atheris
    PYTHONPATH=tests:$(.venv/bin/python -c 'import site; print(site.getsitepackages()[0])') \
        /tmp/fuzz/bin/python benchmarks/fuzz_frames.py --seconds 60

atheris is no dependency of ours: what it needs is a Python of the same version as .venv's. The
bounded run that every change passes is tests/fuzz.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).parents[1]


def main() -> int:
    """Fuzz until the time is over; a fault ends the run with atheris' report and its input."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=int, default=60, help="how long (default: 60)")
    seconds = options.parse_args().seconds
    try:
        atheris: Any = import_module("atheris")
    except ImportError:
        print("atheris is not installed: see the top of this file", file=sys.stderr)
        return 2
    # An editable install is found by a .pth file, which PYTHONPATH does not read.
    sources = ("libs/backbone/src", "services/gateway/src", "tests")
    sys.path[:0] = [str(ROOT / one) for one in sources]
    with atheris.instrument_imports(include=["voltbus_gateway"]):
        judging: Any = import_module("fuzz.judging")
        made: Any = import_module("fuzz.frames_made")
    values: Any = import_module("voltbus_backbone.contract.values")
    versions = list(values.Protocol)

    def one_input(data: bytes) -> None:
        version = versions[data[0] % len(versions)] if data else versions[0]
        judge = judging.Judge(version)
        judge.give(data[1:])
        judge.still_works()

    with TemporaryDirectory() as corpus:
        for number, version in enumerate(versions):
            for place, (action, payload) in enumerate(made.sound(version)):
                seed = bytes([number]) + f'[2,"1","{action}",{payload}]'.encode()
                Path(corpus, f"{version}-{place}").write_bytes(seed)
        arguments = [sys.argv[0], f"-max_total_time={seconds}", "-max_len=8192", corpus]
        atheris.Setup(arguments, one_input)
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
