"""``python -m voltbus_gateway``: the gateway as a process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltbus_backbone.service import Parts, main
from voltbus_gateway import api
from voltbus_gateway.gateway import Gateway
from voltbus_gateway.settings import Settings

if TYPE_CHECKING:
    from voltbus_backbone.service import Runtime


async def compose(runtime: Runtime[Settings]) -> Parts:
    """The gateway's parts."""
    gateway = Gateway(
        runtime.settings,
        bus=runtime.publisher,
        source=runtime.source,
        now=runtime.now,
        stopping=runtime.stopping.is_set,
    )
    await gateway.start(await runtime.requester(on_message=gateway.on_message))
    return Parts(
        routers=[api.router(gateway.connections, gateway.refusals)],
        background={"pulse": gateway.run, "certificates": gateway.watch_certificates},
        checks={"kafka_stores": gateway.is_storing},
        close=[gateway.stop],
    )


if __name__ == "__main__":
    main("gateway", Settings, compose)
