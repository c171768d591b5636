"""How a station was last connected, as the gateways told."""

from datetime import datetime

from voltbus_backbone.contract.stations import StationConnected
from voltbus_backbone.contract.values import Message, Protocol


class Presence(Message, frozen=True, rename={"id": "_id"}):
    """``id`` is the station's. A gateway that dies leaves ``open`` as it was: it is a hint."""

    id: str
    connection_id: str
    at: datetime
    protocol: Protocol
    security_profile: int
    open: bool
    credential_id: str


def presence_of(message: StationConnected) -> Presence:
    """What a log-in tells."""
    return Presence(
        id=message.station_id,
        connection_id=message.connection_id,
        at=message.at,
        protocol=message.protocol,
        security_profile=message.security_profile,
        open=True,
        credential_id=message.credential_id,
    )
