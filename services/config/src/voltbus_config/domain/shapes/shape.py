"""What the shapes have in common."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from voltbus_backbone.contract.values import Protocol

Call = tuple[str, dict[str, Any]]


class Shape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the shapes have in common: unknown members are mistakes."""

    def call(self, protocol: Protocol, number: int) -> Call:
        """Return the OCPP call in this version, with its empty optionals left out (ocpp-rules A18).

        Raises:
            Unsupported: this version can't do it.
        """
        made = self._v16 if protocol is Protocol.OCPP16 else self._v2
        action, payload = made(number)
        return action, _drop_nones(payload)

    def _v16(self, number: int) -> Call:
        raise NotImplementedError

    def _v2(self, number: int) -> Call:
        raise NotImplementedError


def _drop_nones(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _drop_nones(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_drop_nones(each) for each in value]
    return value


def moment(time: datetime | None) -> str | None:
    """RFC 3339 in UTC, whole seconds; a time without an offset is UTC."""
    if time is None:
        return None
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
