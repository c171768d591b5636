"""A new password for a station (ocpp-rules A7; OCPP 2.0.1 A01, 1.6 Security Whitepaper A01).

The station's answer decides: Accepted, and only the new one is let in; another status, and only the
earlier one. Where nobody knows what the station did, both are let in until its next log-in tells.
"""

from __future__ import annotations

import hmac
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from voltbus_auth.credentials.domain import credentials as verifying
from voltbus_auth.credentials.domain.changes.change import (
    Change,
    Kind,
    NewPassword,
    State,
    Wanted,
    ended,
    moved,
    started,
)
from voltbus_backbone.contract.config import CommandStatus

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from voltbus_auth.credentials.domain.credentials import Credentials
    from voltbus_backbone.contract.config import CommandChanged
    from voltbus_backbone.contract.stations import StationConnected

_SEED_BYTES = 32
_PASSWORD_BYTES = 20
_REFUSALS = frozenset(
    {
        "Rejected",
        "NotSupported",
        "NotSupportedAttributeType",
        "UnknownComponent",
        "UnknownVariable",
    }
)
# A CALLERROR that proves that it was not taken. With any other, also a gateway's about an answer
# against its schema, the station may have taken it and broken afterwards.
_NOT_TAKEN = frozenset({"NotImplemented", "NotSupported", "SecurityError", "InvalidPayload"})
# A log-in is told by a gateway's clock, a command's end by config's. One second is allowed between
# them (docs/operations.md); a log-in that is overlooked costs nothing, the next one tells.
_APART = timedelta(seconds=5)


class PasswordKey:
    """Makes passwords from seeds.

    A seed is 256 random bits and lies in the store while its rotation is open; without this key it
    says nothing, and with the key alone nobody makes a password of a rotation that has ended. So a
    process that is killed between storing and asking can ask for the same password again, and no
    password is ever stored.
    """

    def __init__(self, secret: bytes, id: str) -> None:  # noqa: A002 - its name everywhere
        self._secret = secret
        self.id = id

    def __repr__(self) -> str:
        """Show nothing."""
        return "PasswordKey()"

    def password(self, seed: bytes) -> str:
        """The password: 40 hex digits, the one form that suits every version."""
        return hmac.digest(self._secret, seed, "sha256")[:_PASSWORD_BYTES].hex()


def begin(
    change_id: str,
    known: Credentials,
    key: PasswordKey,
    random_bytes: Callable[[int], bytes],
    now: datetime,
    *,
    wait_s: float,
    timeout_s: float,
    fleet_id: str | None = None,
) -> tuple[Change, Credentials]:
    """A rotation, and the credentials that let both passwords in."""
    seed = random_bytes(_SEED_BYTES)
    verifier = verifying.fast_verifier(key.password(seed), random_bytes)
    change = Change(
        id=change_id,
        kind=Kind.ROTATION,
        station_id=known.station_id,
        state=State.STARTING,
        created_at=now,
        since=now,
        wait_s=wait_s,
        timeout_s=timeout_s,
        revision=0,
        fleet_id=fleet_id,
        password=NewPassword(credential_id=verifier.id, key_id=key.id, seed=seed),
    )
    both = replace(
        known,
        verifiers=(verifier, *known.verifiers),
        change_id=change_id,
        updated_at=now,
        revision=known.revision + 1,
    )
    return started(change, 0, now), both


def wanted(change: Change, key: PasswordKey) -> Wanted | None:
    """The command; None when it is over, or when the key was replaced after it began.

    Under another key another password would come out, which no verifier fits.
    """
    password = change.password
    if password is None or password.seed is None or password.key_id != key.id:
        return None
    return Wanted("set_password", {"password": key.password(password.seed)})


def heard(change: Change, event: CommandChanged) -> Change | None:
    """The rotation after the final event of its command; None when that says nothing new."""
    said = event.answer_status
    if event.status is CommandStatus.ANSWERED:
        if said == "Accepted":
            return ended(change, State.SUCCEEDED, event.at, "the station accepted it")
        if said in _REFUSALS:
            return ended(change, State.FAILED, event.at, f"the station answered {said}")
        if said == "RebootRequired":
            return unsettled(change, event.at, "the station uses it after a restart", reboot=True)
        return unsettled(change, event.at, "the station's answer was not understood")
    if event.status is CommandStatus.REJECTED and event.error_code in _NOT_TAKEN:
        return ended(change, State.FAILED, event.at, f"the station answered {event.error_code}")
    why = f"the command ended as {event.status.value}"
    return unsettled(change, event.at, why, sent_on=event.connection_id)


def unsettled(
    change: Change, at: datetime, why: str, *, reboot: bool = False, sent_on: str | None = None
) -> Change | None:
    """Both passwords stay until a later log-in, which may have been told already.

    The command went out on the connection ``sent_on`` and ended at ``at``, perhaps only because
    that connection did: the log-in that began it came before.
    """
    password = change.password
    if password is None or (change.state is State.UNSETTLED and change.since >= at):
        return None
    by_reboot = reboot or password.by_reboot
    password = msgspec.structs.replace(password, by_reboot=by_reboot, sent_on=sent_on)
    if password.earlier_at is not None and _tells(
        password, password.earlier_on, password.earlier_at, at
    ):
        return _kept(change, password.earlier_at)
    detail = f"{why}: its next log-in tells which password it uses"
    return moved(change, State.UNSETTLED, at, due_at=None, detail=detail, password=password)


def connected(change: Change, event: StationConnected) -> Change | None:
    """The rotation after a log-in; None when that tells nothing."""
    password = change.password
    if password is None or not event.credential_id:
        return None
    if event.credential_id == password.credential_id:
        return ended(change, State.SUCCEEDED, event.at, "the station logged in with it")
    if change.state is State.UNSETTLED and _tells(
        password, event.connection_id, event.at, change.since
    ):
        return _kept(change, event.at)
    if password.earlier_at is not None and password.earlier_at >= event.at:
        return None
    password = msgspec.structs.replace(
        password, earlier_at=event.at, earlier_on=event.connection_id
    )
    return moved(change, change.state, change.since, password=password)


def _tells(password: NewPassword, connection_id: str | None, at: datetime, since: datetime) -> bool:
    """Whether a log-in with the earlier password proves that the new one was not taken."""
    if password.by_reboot or connection_id == password.sent_on:
        return False
    return at > since + _APART


def _kept(change: Change, at: datetime) -> Change:
    return ended(change, State.FAILED, at, "the station logged in with the earlier password")


def overdue(change: Change, now: datetime) -> Change | None:
    """The rotation whose command nothing was heard of."""
    return unsettled(change, now, "nothing was heard of the command")
