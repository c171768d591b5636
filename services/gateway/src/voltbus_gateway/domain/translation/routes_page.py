"""The route table as a page of docs: ``python -m voltbus_gateway.domain.translation.routes_page``.

Written to docs/actions.md; a test keeps that file equal to what this module says.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from voltbus_backbone.contract.values import Protocol
from voltbus_gateway.domain.session.commands import to_stations
from voltbus_gateway.domain.translation.route import Mode, confirm, fail_undecided
from voltbus_gateway.domain.translation.routes import ROUTES

if TYPE_CHECKING:
    from voltbus_gateway.domain.translation.route import Route

_NAMES = {
    Protocol.OCPP16: "OCPP 1.6 (with the security extension)",
    Protocol.OCPP201: "OCPP 2.0.1",
    Protocol.OCPP21: "OCPP 2.1",
}

_INTRODUCTION = """\
# What becomes of each OCPP action

<!-- Written by `python -m voltbus_gateway.domain.translation.routes_page > docs/actions.md`: don't
edit. -->

Each action that a charging station may send is one row of the gateway's route table:

- **answered** - a service is asked through Kafka, and its answer is the station's.
- **acknowledged** - the fact is published, and the station is answered once Kafka has it.
- **local** - the gateway answers by itself.

"Told as" is the CloudEvents type of the record, "to" its topic. "In silence" is what a station
hears when the service that is asked does not answer in time: an error where it must ask again, a
confirmation where Kafka already has what it said.

An action that a version does not know gets CALLERROR NotImplemented; one that only a central
system may send gets NotSupported. Every payload is checked against the version's JSON schema in
both directions. Before a station is registered as Accepted, anything but a BootNotification (or
what it was asked for while Pending) gets SecurityError.
"""


def page() -> str:
    """The whole page, in Markdown."""
    parts = [_INTRODUCTION]
    for protocol in Protocol:
        rows = sorted(
            (route for route in ROUTES if route.protocol is protocol),
            key=lambda route: route.action,
        )
        parts += [
            f"\n## {_NAMES[protocol]}: from the station\n",
            "| action | | told as | to | in silence | why |",
            "|---|---|---|---|---|---|",
            *(_row(route) for route in rows),
        ]
    for protocol in Protocol:
        names = ", ".join(sorted(to_stations(protocol)))
        parts += [f"\n## {_NAMES[protocol]}: to the station\n", names]
    return "\n".join(parts) + "\n"


def _row(route: Route) -> str:
    told, topic = ("-", "-") if route.row is None else (f"`{route.row.name}`", route.row.topic)
    mode = f"{route.mode} (SEND)" if route.one_way else str(route.mode)
    cells = (route.action, mode, told, topic, _silence(route), route.reason or "-")
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _silence(route: Route) -> str:
    if route.mode is not Mode.ANSWERED:
        return "-"
    if route.on_silence is fail_undecided:
        return "InternalError"
    return "confirmed" if route.on_silence is confirm else "it depends"


if __name__ == "__main__":
    sys.stdout.write(page())
