"""The effects of a session: values, so that the owner of the socket decides when and how."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from voltbus_backbone.contract.config import CallOutcome, RejectedBy
    from voltbus_gateway.domain.repairs.repair import Repair
    from voltbus_gateway.domain.wire.frames import Call, Payload, Send


class Write(msgspec.Struct, frozen=True):
    """Send this as one WebSocket text message (UTF-8 already encoded).

    ``command_id`` is of a call of ours: when the socket accepts nothing any more, the owner calls
    ``Session.mark_unsent``, for what was never sent can be sent again elsewhere.
    """

    text: bytes
    command_id: str | None = None


class Refusal(msgspec.Struct, frozen=True):
    """A message of the station was refused. ``reason`` is the code as the station gets it.

    ``action`` is empty where none of the version's could be read.
    """

    action: str
    reason: str


class Dispatch(msgspec.Struct, frozen=True):
    """Handle this valid message of the station; answer a ``Call`` once, never a ``Send``.

    ``extras`` are the places of unknown properties that the policy let pass, for the log.
    ``repairs`` are what was mended in a fact that did not fit its schema; ``call`` is as mended.
    ``size`` is the message's in bytes, as it came: what it needs is freed when it is done.
    """

    call: Call | Send
    extras: tuple[str, ...] = ()
    repairs: tuple[Repair, ...] = ()
    size: int = 0


class CommandResult(msgspec.Struct, frozen=True):
    """The result of a command, exactly once for each ``Session.call``.

    ANSWERED with ``payload``; REJECTED with the station's code (in 2.x's spelling where it is
    known); TIMED_OUT when it was sent and no answer came that could be read (also when the
    connection closed meanwhile: the station may have done it); NOT_CONNECTED when it was never sent
    (``late``: its turn came too late); INVALID when it can't be sent.
    ``unsent``: it was refused before it left; ``rejected_by``: who refused it.
    ``extras`` are the places of unknown properties in the answer that the policy let pass,
    ``repairs`` what did not fit the schema in an answer that is kept all the same.
    """

    command_id: str
    outcome: CallOutcome
    payload: Payload | None = None
    error_code: str | None = None
    error_description: str | None = None
    extras: tuple[str, ...] = ()
    late: bool = False
    unsent: bool = False
    rejected_by: RejectedBy | None = None
    repairs: tuple[Repair, ...] = ()


Effect = Write | Dispatch | CommandResult
Effects = tuple[Effect, ...]
