"""A change of a station's password or security profile: its states and what it consists of.

starting  → commanded                      the step's command was asked for
commanded → starting                       the next step of an upgrade
          → unsettled                      a password of which nobody knows whether it was taken
          → waiting                        the station is to come back with the higher profile
open      → succeeded | failed             final, reached exactly once

A station has one open change at a time: its credentials name it (``Credentials.change_id``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from voltbus_backbone.contract.values import Message, Protocol

if TYPE_CHECKING:
    from voltbus_auth.credentials.domain.credentials import Credentials


class Kind(StrEnum):
    """What is changed."""

    ROTATION = "rotation"
    UPGRADE = "upgrade"


class State(StrEnum):
    """How far it is."""

    STARTING = "starting"
    COMMANDED = "commanded"
    UNSETTLED = "unsettled"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


FINAL = frozenset({State.SUCCEEDED, State.FAILED})
OPEN = frozenset(State) - FINAL

# After its time in the queue and on the wire, config has long ended a command and told it.
_SILENCE = timedelta(minutes=2)


class NewPassword(Message, frozen=True):
    """``seed``: the password is made from it and auth's key; dropped at the end.

    ``credential_id`` names the verifier, ``key_id`` the key. ``by_reboot``: the station will use it
    once it restarts, so that a log-in with the earlier one says nothing. ``earlier_at``: the last
    such log-in; it may be told before the end of the command that it followed. ``earlier_on`` is
    its connection, ``sent_on`` the one that the command went out on.
    """

    credential_id: str
    key_id: str
    seed: bytes | None = None
    by_reboot: bool = False
    earlier_at: datetime | None = None
    earlier_on: str | None = None
    sent_on: str | None = None

    def __repr__(self) -> str:
        """Show the name only."""
        return f"NewPassword(credential_id={self.credential_id!r})"


class HigherProfile(Message, frozen=True):
    """The profile to reach and how. ``url`` and what follows it: 2.x's network profile.

    ``fallback_slots`` are tried by the station when the new slot does not work. ``window_s``: by
    when it must be back.
    """

    security_profile: int
    protocol: Protocol
    window_s: float
    url: str = ""
    configuration_slot: int = 1
    fallback_slots: tuple[int, ...] = ()
    interface: str = "Wired0"
    message_timeout_s: int = 30


class Change(Message, frozen=True, rename={"id": "_id"}):
    """One change. Exactly one of ``password`` and ``profile`` is there, as ``kind`` says.

    ``since`` is when the present state began; ``due_at`` when somebody must look at it next, None
    when only the station can go on. ``wait_s``: how long each command may wait for the station.
    ``detail`` says in words how it stands.
    """

    id: str
    kind: Kind
    station_id: str
    state: State
    created_at: datetime
    since: datetime
    wait_s: float
    timeout_s: float
    revision: int
    due_at: datetime | None = None
    step: int = 0
    expires_at: datetime | None = None
    command_id: str | None = None
    ended_at: datetime | None = None
    detail: str = ""
    fleet_id: str | None = None
    password: NewPassword | None = None
    profile: HigherProfile | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A command that a step asks for. Its payload may hold the password."""

    action: str
    payload: dict[str, Any]

    def __repr__(self) -> str:
        """Show the action only."""
        return f"Wanted(action={self.action!r})"


def cause(change: Change) -> str:
    """What the step's command carries, and by which its events are known to be this step's."""
    if change.kind is Kind.ROTATION:
        return f"rotation:{change.id}"
    return f"upgrade:{change.id}:{change.step}"


def change_of(cause: str | None) -> str | None:
    """The change that a command's cause names; None: the command is of somebody else."""
    match (cause or "").split(":"):
        case [Kind.ROTATION, change_id] | [Kind.UPGRADE, change_id, _]:
            return change_id
    return None


def started(change: Change, step: int, now: datetime) -> Change:
    """The change at the beginning of a step: its command is to be asked for at once."""
    return moved(
        change,
        State.STARTING,
        now,
        step=step,
        command_id=None,
        detail="",
        due_at=now,
        expires_at=now + timedelta(seconds=change.wait_s),
    )


def published(change: Change) -> Change | None:
    """The step's command is in Kafka; None when its events were quicker."""
    if change.state is not State.STARTING:
        return None
    return moved(change, State.COMMANDED, change.since, due_at=silent_at(change))


def silent_at(change: Change) -> datetime:
    """When the end of the step's command should have been heard of."""
    begun = change.expires_at or change.since
    return begun + timedelta(seconds=change.timeout_s) + _SILENCE


def ended(change: Change, state: State, now: datetime, detail: str) -> Change:
    """The change in a final state. The seed goes: nobody can make that password again."""
    password = change.password
    if password is not None:
        password = msgspec.structs.replace(password, seed=None)
    return moved(change, state, now, due_at=None, ended_at=now, detail=detail, password=password)


def moved(change: Change, state: State, since: datetime, **fields: Any) -> Change:
    """The change in another state."""
    revision = change.revision + 1
    return msgspec.structs.replace(change, state=state, since=since, revision=revision, **fields)


def settled(credentials: Credentials, change: Change) -> Credentials:
    """A station's credentials once the change has ended: never none of those it may know."""
    verifiers, minimum = credentials.verifiers, credentials.minimum_profile
    if change.password is not None:
        new = tuple(one for one in verifiers if one.id == change.password.credential_id)
        earlier = tuple(one for one in verifiers if one not in new)
        keep = new if change.state is State.SUCCEEDED else earlier
        verifiers = keep or verifiers
    if change.profile is not None and change.state is State.SUCCEEDED:
        minimum = max(minimum, change.profile.security_profile)
    return replace(
        credentials,
        verifiers=verifiers,
        minimum_profile=minimum,
        change_id=None,
        updated_at=change.ended_at,
        revision=credentials.revision + 1,
    )
