"""The desired state of one setting of one station, and how it moves.

pending → in_sync | reboot_required | rejected | unsupported; in_sync → drifted | pending.
A refusal is final for its generation; silence and absence are tried again, later each time.
"""

import zlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec

from voltbus_backbone.contract.values import Message, Protocol
from voltbus_config.domain.boot_requests import BootRequest
from voltbus_config.domain.layers import WantedValue

_FIRST_RETRY_S = 10.0
_LONGEST_RETRY_S = 3600.0


class SettingState(StrEnum):
    """Where a setting stands; the words of the contract's SettingChanged."""

    PENDING = "pending"
    IN_SYNC = "in_sync"
    DRIFTED = "drifted"
    REBOOT_REQUIRED = "reboot_required"
    REJECTED = "rejected"
    UNSUPPORTED = "unsupported"
    UNKNOWN = "unknown"


REFUSED = frozenset({SettingState.REJECTED, SettingState.UNSUPPORTED})


# What has to be taken away at the station too, when the operator no longer wants it.
TAKEN_AWAY = frozenset({"charging_speed", "opening_hours"})


class StationSetting(Message, frozen=True):
    """One setting of one station.

    ``wanted`` is the operator's value, None once it was taken away. ``reported`` is what the
    station last acknowledged; for opening hours that is its availability, since OCPP has no hours.
    ``command_id`` is the command that is to bring it, ``tried`` what the last one was to bring.
    ``protocol`` is the version that the state
    was learned in: another version deserves another try.
    """

    key: str
    wanted: Any
    layer: str
    generation: int
    state: SettingState
    since: datetime
    reported: Any = None
    reported_at: datetime | None = None
    detail: str | None = None
    command_id: str | None = None
    tried: Any = None
    attempts: int = 0
    retry_at: datetime | None = None
    protocol: Protocol | None = None


class Desired(Message, frozen=True, rename={"id": "_id"}):
    """A station's settings, and the last snapshot of it that was published (`stations.state`).

    ``generation`` grows with each change of what is wanted; ``revision`` with each write.
    ``boot_request`` is there while the station owes us a BootNotification and was asked for it.
    """

    id: str
    revision: int = 0
    generation: int = 0
    items: tuple[StationSetting, ...] = ()
    published_revision: int = 0
    published: str = ""
    boot_request: BootRequest | None = None

    def item(self, key: str) -> StationSetting | None:
        """Return a setting by its key, or None."""
        return next((item for item in self.items if item.key == key), None)


def apply_wanted(desired: Desired, wanted: Mapping[str, WantedValue], now: datetime) -> Desired:
    """Apply newly resolved layers to the desired state; the same values change nothing."""
    generation = desired.generation + 1
    items: list[StationSetting] = []
    changed = False
    for item in desired.items:
        want = wanted.get(item.key)
        value = None if want is None else want.value
        if value == item.wanted:
            layer = item.layer if want is None else want.layer
            items.append(msgspec.structs.replace(item, layer=layer))
            continue
        changed = True
        if want is None and (item.key not in TAKEN_AWAY or _was_never_sent(item)):
            continue
        items.append(
            msgspec.structs.replace(
                item,
                # What is on its way may arrive or not: we no longer know what the station has.
                reported=item.reported if item.command_id is None else None,
                wanted=value,
                layer=item.layer if want is None else want.layer,
                generation=generation,
                state=SettingState.PENDING,
                since=now,
                detail=None,
                command_id=None,
                attempts=0,
                retry_at=None,
            )
        )
    known = {item.key for item in desired.items}
    for key, want in wanted.items():
        if key not in known:
            changed = True
            items.append(
                StationSetting(
                    key=key,
                    wanted=want.value,
                    layer=want.layer,
                    generation=generation,
                    state=SettingState.PENDING,
                    since=now,
                )
            )
    return msgspec.structs.replace(
        desired,
        items=tuple(sorted(items, key=lambda item: item.key)),
        generation=generation if changed else desired.generation,
    )


def _was_never_sent(item: StationSetting) -> bool:
    return item.reported is None and item.command_id is None


def acknowledge(
    item: StationSetting, state: SettingState, target: Any, detail: str | None, now: datetime
) -> StationSetting:
    """Record that the station accepted; ``target`` is the value that it has now."""
    return msgspec.structs.replace(
        item,
        state=state,
        detail=detail,
        reported=target,
        reported_at=now,
        command_id=None,
        attempts=0,
        retry_at=None,
    )


def refuse(item: StationSetting, state: SettingState, detail: str | None) -> StationSetting:
    """Record that the station refused: final for this generation."""
    return msgspec.structs.replace(item, state=state, detail=detail, command_id=None, retry_at=None)


def schedule_retry(
    item: StationSetting, detail: str, station_id: str, now: datetime
) -> StationSetting:
    """Schedule another try after no answer, with growing pauses."""
    attempts = item.attempts + 1
    return msgspec.structs.replace(
        item,
        state=SettingState.PENDING,
        detail=detail,
        command_id=None,
        attempts=attempts,
        retry_at=now + compute_backoff(attempts, f"{station_id}/{item.key}"),
    )


def compute_backoff(attempts: int, salt: str) -> timedelta:
    """Compute a pause: doubles from ten seconds to an hour, moved by up to a fifth by the salt.

    So stations that failed together do not come back together.
    """
    base = min(_FIRST_RETRY_S * 2 ** (attempts - 1), _LONGEST_RETRY_S)
    part = zlib.crc32(f"{salt}/{attempts}".encode()) % 1001 / 1000
    return timedelta(seconds=base * (0.8 + 0.4 * part))
