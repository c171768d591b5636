"""Examples that the tests of auth share."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from voltbus_auth.decisions.domain.verdict import Policy
from voltbus_auth.projections.domain.coverage import Coverage, coverage_of
from voltbus_auth.projections.domain.places import Place, place_of
from voltbus_auth.tokens.domain.identifiers import TokenKey
from voltbus_auth.tokens.domain.token import Token
from voltbus_backbone.bus.envelope import Asking, Event
from voltbus_backbone.contract.agreements import AgreementSnapshot, AgreementStatus, AgreementToken
from voltbus_backbone.contract.auth import (
    Authorize,
    FindToken,
    Phase,
    StationLogin,
    TransactionMessage,
)
from voltbus_backbone.contract.config import CommandChanged, CommandStatus
from voltbus_backbone.contract.registry import (
    AUTHORIZE,
    FIND_TOKEN,
    STATION_LOGIN,
    TRANSACTION,
    MessageType,
)
from voltbus_backbone.contract.stations import (
    MeterValuesReported,
    StationBooted,
    StationConnected,
    StationRegistered,
    StationState,
    StatusReported,
)
from voltbus_backbone.contract.values import IdToken, OpeningHours, Protocol, Sample

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)  # a Wednesday
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
KEY = TokenKey(b"0123456789abcdef0123456789abcdef")
POLICY = Policy(cache=DAY)
STATION = "CS-1"
CARD = "04A1B2C3D4"
REF = KEY.ref("ISO14443", CARD)

OFFICE_HOURS = OpeningHours(
    timezone="UTC",
    weekly=dict.fromkeys(("mon", "tue", "wed", "thu", "fri"), (("08:00", "18:00"),)),
)
_ROWS: dict[type, MessageType[Any]] = {
    Authorize: AUTHORIZE,
    TransactionMessage: TRANSACTION,
    StationLogin: STATION_LOGIN,
    FindToken: FIND_TOKEN,
}
_offsets = itertools.count(1)


def token(**fields: Any) -> Token:
    """A registered RFID card."""
    return Token(**{"ref": REF, "type": "ISO14443", **fields})


def terms(**fields: Any) -> AgreementSnapshot:
    """An agreement in force that names the card."""
    return AgreementSnapshot(
        **{
            "id": "agr-1",
            "kind": "driver",
            "name": "A driver's contract",
            "status": AgreementStatus.ACTIVE,
            "revision": 1,
            "valid_from": NOW - DAY,
            "at": NOW - DAY,
            "tokens": (AgreementToken(ref=REF, type="ISO14443"),),
            **fields,
        }
    )


def covering(snapshot: AgreementSnapshot, *refs: str) -> AgreementSnapshot:
    """The agreement with these tokens instead."""
    tokens = tuple(AgreementToken(ref=ref) for ref in refs)
    return msgspec.structs.replace(snapshot, tokens=tokens)


def coverage(**fields: Any) -> Coverage:
    """The same, ready to decide."""
    return coverage_of(terms(**fields))


def state(**fields: Any) -> StationState:
    """What config tells of the station."""
    return StationState(**{"station_id": STATION, "revision": 1, "at": NOW - DAY, **fields})


def place(**fields: Any) -> Place:
    """The same, ready to decide."""
    return place_of(state(**fields))


def card(value: str = CARD, kind: str = "ISO14443") -> IdToken:
    """What is presented; kind "" as 1.6 presents it."""
    return IdToken(value=value, type=kind)


def register(wh: float, at: datetime, context: str = "Sample.Periodic") -> Sample:
    """A reading of the energy register."""
    return Sample(at=at, value=wh, context=context)


def said(phase: Phase, at: datetime, seq_no: int, **fields: Any) -> TransactionMessage:
    """A 2.x TransactionEvent."""
    return TransactionMessage(
        **{
            "station_id": STATION,
            "protocol": Protocol.OCPP201,
            "phase": phase,
            "at": at,
            "transaction_id": "tx-1",
            "seq_no": seq_no,
            "evse_id": 1,
            "connector_id": 1,
            "trigger": "Authorized",
            **fields,
        }
    )


def started16(at: datetime = NOW, **fields: Any) -> TransactionMessage:
    """A 1.6 StartTransaction."""
    return TransactionMessage(
        **{
            "station_id": STATION,
            "protocol": Protocol.OCPP16,
            "phase": Phase.STARTED,
            "at": at,
            "connector_id": 1,
            "id_token": card(kind=""),
            "meter_wh": 1000,
            **fields,
        }
    )


def stopped16(transaction_id: int | str, at: datetime, **fields: Any) -> TransactionMessage:
    """A 1.6 StopTransaction."""
    return TransactionMessage(
        **{
            "station_id": STATION,
            "protocol": Protocol.OCPP16,
            "phase": Phase.ENDED,
            "at": at,
            "transaction_id": str(transaction_id),
            "meter_wh": 6000,
            "stopped_reason": "Local",
            **fields,
        }
    )


def authorize(id_token: IdToken | None = None, **fields: Any) -> Authorize:
    """An Authorize of 2.0.1, or of 1.6 with ``protocol``."""
    return Authorize(
        **{
            "station_id": STATION,
            "protocol": Protocol.OCPP201,
            "id_token": id_token or card(),
            "at": NOW,
            **fields,
        }
    )


def asked(
    message: Authorize | TransactionMessage | StationLogin | FindToken,
    *,
    offset: int | None = None,
    row: MessageType[Any] | None = None,
) -> Event:
    """A request as it was consumed; without ``offset``, at a new place in the log each time."""
    number = offset if offset is not None else next(_offsets)
    row = row or _ROWS[type(message)]
    return Event(
        id=f"event-{number}",
        source="/voltbus/gateway/g-1",
        type=row.name,
        time="2026-03-04T12:00:00.000Z",
        subject=message.station_id,
        data=b"",
        topic="voltbus.auth.requests",
        partition=0,
        offset=number,
        key=message.station_id.encode(),
        asking=Asking(f"g-1/{number}", "voltbus.gateway.inbox", 0, 2**53),
        correlation_id=f"g-1/{number}",
        message=message,
    )


def connected(at: datetime = NOW, **fields: Any) -> StationConnected:
    """The station's log-in."""
    return StationConnected(
        **{
            "station_id": STATION,
            "connection_id": "c-1",
            "gateway_id": "g-1",
            "gateway_partition": 0,
            "protocol": Protocol.OCPP16,
            "at": at,
            **fields,
        }
    )


def command_changed(
    action: str,
    status: CommandStatus = CommandStatus.ANSWERED,
    answer: str | None = None,
    **fields: Any,
) -> CommandChanged:
    """What became of a command to the station, now."""
    return CommandChanged(
        **{
            "command_id": "cmd-1",
            "station_id": STATION,
            "action": action,
            "status": status,
            "at": NOW,
            "answer_status": answer,
            **fields,
        }
    )


def of_stations(
    name: str, message: MeterValuesReported | StationRegistered | StationBooted | StatusReported
) -> Event:
    """A record of ``stations.events``."""
    event = asked(StationLogin(station_id=message.station_id))
    event.type, event.message, event.topic = name, message, "voltbus.stations.events"
    event.asking = None
    return event
