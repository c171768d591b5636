"""What a gateway counts, for Prometheus."""

from __future__ import annotations

from functools import lru_cache

from prometheus_client import Counter, Gauge, Histogram

CONNECTIONS = Gauge(
    "voltbus_gateway_connections", "Open connections of stations, by subprotocol", ["protocol"]
)
REFUSALS = Counter(
    "voltbus_gateway_refusals_total", "Stations that were not let in, by reason", ["reason"]
)
CLOSED = Counter("voltbus_gateway_closed_total", "Connections that ended, by close code", ["code"])
CALLS = Counter(
    "voltbus_gateway_calls_total",
    "Calls of stations, by version, action and outcome",
    ["protocol", "action", "outcome"],
)
CALL_SECONDS = Histogram(
    "voltbus_gateway_call_seconds",
    "Seconds from reading a station's call to writing its answer",
    ["action"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25),
)
COMMANDS = Counter("voltbus_gateway_commands_total", "Calls to stations, by outcome", ["outcome"])
DROPPED = Counter(
    "voltbus_gateway_dropped_total", "Messages that were dropped or refused, by reason", ["reason"]
)
IN_FLIGHT = Gauge("voltbus_gateway_calls_in_flight", "Calls of stations being handled")
OUTAGE = Gauge("voltbus_gateway_kafka_outage", "1 while Kafka does not store")
OWED = Gauge("voltbus_gateway_reports_owed", "Events of our own that Kafka does not have yet")


# Looking a label up takes longer than counting; every value is one of ours, so caches stay small.


@lru_cache(maxsize=4096)
def calls(protocol: str, action: str, outcome: str) -> Counter:
    """The counter of a version, action and outcome."""
    return CALLS.labels(protocol, action, outcome)


@lru_cache(maxsize=512)
def call_seconds(action: str) -> Histogram:
    """The histogram of an action."""
    return CALL_SECONDS.labels(action)
