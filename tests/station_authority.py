"""The authority of docs/station-certificates.md as a process, and stations' own keys as files."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cryptography.hazmat.primitives import serialization

from gateway.certificates import strict_context

if TYPE_CHECKING:
    import ssl

    from voltbus.embedded.stack import Stack
    from voltbus.simulator import Station2, Station16

PAGE = Path(__file__).parents[1] / "docs" / "station-certificates.md"


def example() -> str:
    """The page's program."""
    (found,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return str(found)


class AuthorityProcess:
    """That program, running; ``kill`` and ``start`` as often as a test likes."""

    def __init__(self, stack: Stack, folder: Path, certificate: Path, key: Path) -> None:
        self._program = folder / "authority.py"
        self._program.write_text(example())
        self._log = folder / "authority.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._environment = {
            **os.environ,
            "KAFKA": stack.kafka,
            "PREFIX": stack.topic_prefix,
            "CA_CERT": str(certificate),
            "CA_KEY": str(key),
        }

    def start(self) -> None:
        """Start it; it is there when it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(self._program)],
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """SIGKILL, if it runs."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(10)
            self._process = None

    def __enter__(self) -> Self:
        """Started."""
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Told to end, so that it leaves its group at once."""
        self._end(signal.SIGTERM)


def own_context(station: Station16 | Station2, trusted: Path, folder: Path) -> ssl.SSLContext:
    """TLS with the certificate that the station was given, and the key that it made."""
    own = station.certificates
    assert own.key is not None
    file = folder / f"{station.station_id}.pem"
    file.write_bytes(
        own.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + b"".join(one.public_bytes(serialization.Encoding.PEM) for one in own.chain)
    )
    context = strict_context(trusted)
    context.load_cert_chain(file)
    return context
