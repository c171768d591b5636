"""What the operator does over REST; every answer that is no success is an error with its detail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import httpx
from prometheus_client.parser import text_string_to_metric_families

from voltbus.demo.errors import DemoError

if TYPE_CHECKING:
    from collections.abc import Mapping

Body = dict[str, Any]
PATIENCE_S = 60.0


class Operator:
    """A client of the three services' REST routes. ``addresses``: service name to URL."""

    def __init__(self, addresses: Mapping[str, str], token: str) -> None:
        self._addresses = addresses
        self._http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE_S, trust_env=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def ask(
        self, method: str, service: str, path: str, body: Body | None = None, **more: Any
    ) -> Body:
        """Make a request and return the answer's JSON object; raises DemoError."""
        answer = await self._send(method, service, path, json=body, **more)
        found = answer.json() if answer.content else {}
        return found if isinstance(found, dict) else {}

    async def counted(self, service: str, name: str) -> int:
        """Return a counter of a service, added up over its labels."""
        answer = await self._send("GET", service, "/metrics")
        families = text_string_to_metric_families(answer.text)
        return int(sum(one.value for each in families for one in each.samples if one.name == name))

    async def _send(self, method: str, service: str, path: str, **more: Any) -> httpx.Response:
        url = f"{self._addresses[service]}{path}"
        try:
            answer = await self._http.request(method, url, **more)
        except httpx.HTTPError as failure:
            kind = type(failure).__name__
            raise DemoError(f"{method} {path} of {service} got no answer: {kind}.") from failure
        if not answer.is_success:
            raise DemoError(
                f"{method} {path} of {service} was answered with {answer.status_code}: "
                f"{_detail(answer)}"
            )
        return answer

    async def register(self, station: str) -> str:
        """Register a station and return the password it was given."""
        await self.ask("POST", "config", "/v1/stations", {"id": station})
        made = await self.ask(
            "PUT", "auth", f"/v1/stations/{station}/credentials", {"security_profile": 1}
        )
        return str(made["password"])

    async def add_token(self, id_token: str, status: str) -> str:
        """Add an RFID token and return its reference."""
        body = {"id_token": id_token, "type": "ISO14443", "status": status}
        return str((await self.ask("POST", "auth", "/v1/tokens", body))["ref"])

    async def add_agreement(self, body: Body) -> str:
        """Create an agreement, activate it, and return its id."""
        made = await self.ask("POST", "agreements", "/v1/agreements", body)
        await self.ask("POST", "agreements", f"/v1/agreements/{made['id']}/activate")
        return str(made["id"])

    async def agreement(self, agreement_id: str) -> Body:
        """Return an agreement."""
        return await self.ask("GET", "agreements", f"/v1/agreements/{agreement_id}")

    async def usage(self, agreement_id: str) -> Body:
        """Return what was used under an agreement."""
        return await self.ask("GET", "agreements", f"/v1/agreements/{agreement_id}/usage")

    async def set_up(self, station: str, settings: Body) -> None:
        """Say how a station should be."""
        await self.ask("PUT", "config", f"/v1/stations/{station}/settings", settings)

    async def settings(self, station: str) -> Body:
        """Return what is wanted, what the station reports, and how far that is."""
        return await self.ask("GET", "config", f"/v1/stations/{station}/settings")

    async def station(self, station: str) -> Body:
        """Return what config knows of a station."""
        return await self.ask("GET", "config", f"/v1/stations/{station}")

    async def transactions(self, station: str) -> list[Body]:
        """Return the transactions that auth recorded for a station."""
        found = await self.ask("GET", "auth", "/v1/transactions", params={"station_id": station})
        transactions: list[Body] = found["data"]
        return transactions


def _detail(answer: httpx.Response) -> str:
    """Return what a problem document says, or the reason phrase."""
    try:
        problem = answer.json()
        fields = "; ".join(f"{one['field']}: {one['message']}" for one in problem.get("errors", []))
        said = problem.get("detail") or problem.get("title") or ""
        return ": ".join(part for part in (said, fields) if part) or answer.reason_phrase
    except (ValueError, KeyError, TypeError, AttributeError):
        return answer.reason_phrase
