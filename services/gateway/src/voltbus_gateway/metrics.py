"""What a gateway counts, for Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from voltbus_backbone.contract.values import Protocol

CONNECTIONS = Gauge(
    "voltbus_gateway_connections", "Open connections of stations, by subprotocol", ["protocol"]
)
REFUSALS = Counter(
    "voltbus_gateway_refusals_total", "Stations that were not let in, by reason", ["reason"]
)
REFUSED_CALLS = Counter(
    "voltbus_gateway_refused_calls_total", "Calls of stations that we refused, by code", ["code"]
)
CONTESTS = Counter(
    "voltbus_gateway_duplicate_identity_total",
    "Live connections that lost their place to another in a contest for one identity",
)
CLOSED = Counter("voltbus_gateway_closed_total", "Connections that ended, by close code", ["code"])
COMMANDS = Counter("voltbus_gateway_commands_total", "Calls to stations, by outcome", ["outcome"])
DROPPED = Counter(
    "voltbus_gateway_dropped_total", "Messages that were dropped or refused, by reason", ["reason"]
)
REPAIRS = Counter(
    "voltbus_gateway_repairs_total",
    "What was mended in stations' messages, by version, action and kind",
    ["protocol", "action", "kind"],
)
OVER_BUDGET = Counter(
    "voltbus_gateway_over_budget_total",
    "Times that a station was slowed down or closed for what it cost, by budget",
    ["budget"],
)
IN_FLIGHT = Gauge("voltbus_gateway_calls_in_flight", "Calls of stations being handled")
OUTAGE = Gauge("voltbus_gateway_kafka_outage", "1 while Kafka does not store")
OWED = Gauge("voltbus_gateway_reports_owed", "Events of our own that Kafka does not have yet")
GIVEN_UP = Counter(
    "voltbus_gateway_reports_given_up_total",
    "Facts and reports that Kafka will never have, by reason",
    ["reason"],
)


_BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, float("inf"))


class _Calls(Collector):
    """Calls of stations. Counted in plain numbers and put into metrics when Prometheus asks.

    The library's own counters lock and look labels up: three microseconds for each call.
    """

    def __init__(self) -> None:
        self._ended: defaultdict[tuple[Protocol, str, str], int] = defaultdict(int)
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._buckets: defaultdict[str, list[int]] = defaultdict(lambda: [0] * len(_BOUNDS))

    def count(self, protocol: Protocol, action: str, outcome: str, seconds: float) -> None:
        """A call has ended; ``seconds`` since it was read."""
        self._ended[protocol, action, outcome] += 1
        self._seconds[action] += seconds
        self._buckets[action][bisect_left(_BOUNDS, seconds)] += 1

    def collect(self) -> Iterator[Metric]:
        """The counter and the histogram as they are now."""
        calls = CounterMetricFamily(
            "voltbus_gateway_calls_total",
            "Calls of stations, by version, action and outcome",
            labels=("protocol", "action", "outcome"),
        )
        for (protocol, action, outcome), number in self._ended.items():
            calls.add_metric((protocol.value, action, outcome), number)
        yield calls
        lasted = HistogramMetricFamily(
            "voltbus_gateway_call_seconds",
            "Seconds from reading a station's call to writing its answer",
            labels=("action",),
        )
        for action, counts in self._buckets.items():
            names = (str(float(bound)) if bound < _BOUNDS[-1] else "+Inf" for bound in _BOUNDS)
            lasted.add_metric(
                (action,),
                list(zip(names, accumulate(counts), strict=True)),
                sum_value=self._seconds[action],
            )
        yield lasted


CALLS = _Calls()
REGISTRY.register(CALLS)
