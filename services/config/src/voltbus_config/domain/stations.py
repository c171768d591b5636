"""A station as registered and as it introduced itself, and what Boot is answered."""

import re
import zlib
from datetime import datetime
from enum import StrEnum

import msgspec

from voltbus_backbone.contract.config import Boot
from voltbus_backbone.contract.values import Message, Protocol
from voltbus_backbone.values.blanks import trimmed

LONGEST_ID = 48
_ID = re.compile(r"[A-Za-z0-9*\-_=+|@. ]{1,48}")


class Registration(StrEnum):
    """What the operator says of a station; OCPP's RegistrationStatus in lower case."""

    ACCEPTED = "accepted"
    PENDING = "pending"
    REJECTED = "rejected"

    @property
    def ocpp(self) -> str:
        """Accepted, Pending or Rejected."""
        return self.value.capitalize()


class LastBoot(Message, frozen=True):
    """The last BootNotification and what it was answered. ``event_id`` tells its duplicates."""

    event_id: str
    at: datetime
    status: Registration
    connection_id: str
    reason: str | None = None


class RegisteredStation(Message, frozen=True, rename={"id": "_id"}):
    """A station. ``revision`` grows with each change of what the REST interface shows of it.

    ``evse_kinds`` maps an EVSE's number, as text, to the operator's word for its kind.
    """

    id: str
    registration: Registration
    revision: int
    created_at: datetime
    updated_at: datetime
    group_id: str | None = None
    site_id: str | None = None
    evse_kinds: dict[str, str] = msgspec.field(default_factory=dict)
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    vendor: str = ""
    model: str = ""
    serial_number: str | None = None
    firmware_version: str | None = None
    iccid: str | None = None
    imsi: str | None = None
    protocol: Protocol | None = None
    boot: LastBoot | None = None


class Intervals(Message, frozen=True):
    """What Boot is answered as ``interval``, in seconds, before the station's own jitter."""

    heartbeat_s: int = 300
    retry_s: int = 60


def find_id_problem(station_id: str) -> str | None:
    """Return why this can't be a station's id, or None (OCPP 2.x Part 4 §3.1.1; ocpp-rules A1)."""
    if len(station_id) > LONGEST_ID:
        return f"a station id has at most {LONGEST_ID} characters"
    if station_id in {"", ".", ".."} or _ID.fullmatch(station_id) is None:
        return "a station id is made of letters, digits and * - _ = + | @ . and space (no ':')"
    if station_id != trimmed(station_id):
        return "leave out the blanks around the station id: at the door they are no part of it"
    return None


def add_jitter(base_s: int, station_id: str) -> int:
    """Move an interval (seconds) by up to a tenth either way, always the same for a station.

    So stations that a reconnect storm started in the same second drift apart again.
    """
    spread = base_s // 5
    if spread == 0:
        return base_s
    return base_s - spread // 2 + zlib.crc32(station_id.encode()) % (spread + 1)


def choose_interval(status: Registration, station_id: str, intervals: Intervals) -> int:
    """Choose the heartbeat interval, or the wait before the next Boot, in seconds (rules C)."""
    base = intervals.heartbeat_s if status is Registration.ACCEPTED else intervals.retry_s
    return add_jitter(base, station_id)


def effective_registration(station: RegisteredStation | None, policy: Registration) -> Registration:
    """Return the registration of a station without a Boot on this connection (rules A20, A21).

    A station is accepted only after a Boot was answered so; a registered station that never booted
    still has to.
    """
    if station is None:
        return policy
    told = Registration.PENDING if station.boot is None else station.boot.status
    return _choose_lower(station.registration, told)


def sendable_registration(station: RegisteredStation | None) -> Registration:
    """Return the registration that limits what may be sent to a station.

    Nothing before its first Boot was answered, nor after a refusal until it boots again
    (B03.FR.03); little while Pending (B02); then everything.
    """
    if station is None or station.boot is None:
        return Registration.REJECTED
    return _choose_lower(station.registration, station.boot.status)


def _choose_lower(first: Registration, second: Registration) -> Registration:
    order = [Registration.REJECTED, Registration.PENDING, Registration.ACCEPTED]
    return min(first, second, key=order.index)


def accept_without_boot(
    station: RegisteredStation, event_id: str, connection_id: str, now: datetime
) -> RegisteredStation:
    """Accept a station whose answer implies that it was accepted before (2.x F06.FR.17)."""
    return msgspec.structs.replace(
        station,
        revision=station.revision + 1,
        updated_at=now,
        boot=LastBoot(
            event_id=event_id,
            at=now,
            status=Registration.ACCEPTED,
            connection_id=connection_id,
            reason="none came: the station says that it is accepted already (F06.FR.17)",
        ),
    )


def apply_boot(
    station: RegisteredStation | None,
    boot: Boot,
    event_id: str,
    policy: Registration,
    now: datetime,
) -> RegisteredStation | None:
    """Apply a Boot to a station; None for an unknown one that the policy rejects.

    A duplicate (same ``event_id``) leaves the station as it is.
    """
    if station is not None and station.boot is not None and station.boot.event_id == event_id:
        return station
    if station is None:
        if policy is Registration.REJECTED:
            return None
        station = RegisteredStation(
            id=boot.station_id, registration=policy, revision=0, created_at=now, updated_at=now
        )
    return msgspec.structs.replace(
        station,
        revision=station.revision + 1,
        updated_at=now,
        vendor=boot.vendor,
        model=boot.model,
        serial_number=boot.serial_number,
        firmware_version=boot.firmware_version,
        iccid=boot.iccid,
        imsi=boot.imsi,
        protocol=boot.protocol,
        boot=LastBoot(
            event_id=event_id,
            at=boot.at,
            status=station.registration,
            connection_id=boot.connection_id,
            reason=boot.reason,
        ),
    )
