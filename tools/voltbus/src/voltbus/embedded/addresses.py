"""Addresses as people type them: checked before anything is started."""

from __future__ import annotations

from urllib.parse import urlsplit

from voltbus.errors import CommandError

HIGHEST_PORT = 65535


def check_kafka(address: str) -> None:
    """Raise CommandError unless this is HOST:PORT, or several separated by commas."""
    for one in address.split(","):
        host, _colon, port = one.strip().rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) <= HIGHEST_PORT:
            raise CommandError(
                f"--kafka takes HOST:PORT, for example 127.0.0.1:9092; this is '{address}'."
            )


def check_mongo(uri: str) -> None:
    """Raise CommandError unless this is a MongoDB connection string.

    It is not shown in the error: it may hold a password.
    """
    try:
        parts = urlsplit(uri)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        parts, host = None, ""
    if parts is None or parts.scheme not in {"mongodb", "mongodb+srv"} or not host:
        raise CommandError(
            "--mongo takes a connection string of a replica set, for example "
            "mongodb://user:password@127.0.0.1:27017/?replicaSet=rs0&authSource=admin."
        )


def without_credentials(uri: str) -> str:
    """A MongoDB connection string that can be shown: no user, no password, no options."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/"
