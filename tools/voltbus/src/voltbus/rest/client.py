"""Requests to a service: a success is its JSON, everything else a sentence for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import httpx

from voltbus.errors import CommandError
from voltbus_backbone.tls import create_client_context

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voltbus.rest.service import Service

Body = dict[str, Any]
PATIENCE_S = 30.0
NOT_FOUND = 404


class Client:
    """Speaks to one service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {service.token}"},
            timeout=PATIENCE_S,
            trust_env=False,
            verify=create_client_context(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def ask(self, method: str, path: str, body: Body | None = None, **more: Any) -> Body:
        """Make a request; its JSON object, empty if there is none. Raises CommandError."""
        answer = self._send(method, path, json=body, **more)
        found = answer.json() if answer.content else {}
        return found if isinstance(found, dict) else {}

    def change(self, method: str, path: str, body: Body | None = None, **more: Any) -> Body:
        """Make a request that changes what stands at a path, unless somebody else did meanwhile."""
        etag = self._send("GET", path).headers.get("ETag", "*")
        return self.ask(method, path, body, headers={"If-Match": etag}, **more)

    def pages(self, path: str, most: int, **filters: str | None) -> list[Body]:
        """Read a list page by page until there are so many, or no more."""
        found: list[Body] = []
        wanted = {name: value for name, value in filters.items() if value is not None}
        after: dict[str, str] = {}
        while len(found) < most:
            limit = min(100, most - len(found))
            page = self.ask("GET", path, params={**wanted, **after, "limit": limit})
            found += page["data"]
            if not page["has_more"] or not page["data"]:
                break
            last = page["data"][-1]
            name = next(last[key] for key in ("id", "ref", "transaction_ref") if key in last)
            after = {"starting_after": str(name)}
        return found

    def lines(self, path: str, **params: str) -> Iterator[bytes]:
        """Read a long answer piece by piece."""
        try:
            with self._http.stream("GET", self._service.url + path, params=params) as answer:
                if not answer.is_success:
                    answer.read()
                    raise refused(answer.status_code, answer.reason_phrase, answer.content)
                yield from answer.iter_bytes()
        except httpx.HTTPError as failure:
            raise silent(self._service, failure) from None

    def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, self._service.url + path, **more)
        except httpx.HTTPError as failure:
            raise silent(self._service, failure) from None
        if not answer.is_success:
            raise refused(answer.status_code, answer.reason_phrase, answer.content)
        return answer


def silent(service: Service, failure: Exception) -> CommandError:
    """Say that nobody answered."""
    return CommandError(f"{service.url} gave no answer ({type(failure).__name__}): is it running?")


def refused(status: int, phrase: str, content: bytes) -> CommandError:
    """Say what a problem document (RFC 9457) says; it never repeats what was sent."""
    import json  # noqa: PLC0415 - only refusals need it

    try:
        problem = json.loads(content)
        fields = "; ".join(f"{one['field']}: {one['message']}" for one in problem.get("errors", []))
        said = str(problem.get("detail") or problem.get("title") or phrase).rstrip(".")
    except (ValueError, KeyError, TypeError, AttributeError):
        said, fields = phrase, ""
    more = f" ({fields})" if fields else ""
    return CommandError(f"the service answered {status}: {said}{more}.")
