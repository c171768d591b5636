"""Simulated charging stations for demo, system tests and benchmarks.

They stand on the independent ``ocpp`` library, whose schemas check every message both ways::

    station = make_station("2.0.1")
    await station.connect("ws://127.0.0.1:9000/ocpp", "CP-1", "the password")
    await station.boot()
    transaction = await station.start("04A2B3C4", connector=1, meter_wh=0)
    await station.stop(transaction, meter_wh=5000)
    await station.close()
"""

from __future__ import annotations

from voltbus.simulator.errors import (
    AnswerTimeoutError,
    CallFailedError,
    ConnectionLostError,
    InvalidAnswerError,
    InvalidCallError,
    NoSubprotocolError,
    RefusedError,
    SimulatorError,
    UnreachableError,
)
from voltbus.simulator.link import Sent
from voltbus.simulator.options import SUBPROTOCOLS, Backoff, Options, Protocol, Surroundings
from voltbus.simulator.station import Authorized, Boot, Station
from voltbus.simulator.stations import Station2, Station16, make_station
from voltbus.simulator.transactions import Transaction

__all__ = [
    "SUBPROTOCOLS",
    "AnswerTimeoutError",
    "Authorized",
    "Backoff",
    "Boot",
    "CallFailedError",
    "ConnectionLostError",
    "InvalidAnswerError",
    "InvalidCallError",
    "NoSubprotocolError",
    "Options",
    "Protocol",
    "RefusedError",
    "Sent",
    "SimulatorError",
    "Station",
    "Station2",
    "Station16",
    "Surroundings",
    "Transaction",
    "UnreachableError",
    "make_station",
]
