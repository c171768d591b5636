"""The REST interfaces keep to their own OpenAPI documents, whatever they are sent.

Schemathesis makes requests from each document, good ones and bad ones, and looks at every answer:
no server error, no status, media type or body that the document does not have (ADR 0015). The
examples are the same in each run; a longer hunt: ``VOLTBUS_TEST_EXAMPLES=500``.
"""

from __future__ import annotations

import itertools
import os
import secrets
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from voltbus.embedded.keys import SCOPE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voltbus.embedded.stack import Stack

pytestmark = pytest.mark.stack

SERVICES = ("auth", "config", "agreements")
EXAMPLES = int(os.environ.get("VOLTBUS_TEST_EXAMPLES", "4"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
# What every station of the shared stack would feel.
EVERYWHERE = ("default",)
EVERY_SCOPE = f"{SCOPE} tokens:reveal"


@dataclass
class Things:
    """What exists, by the names that paths give it."""

    known: dict[str, str]

    def put_into(self, path_parameters: dict[str, Any]) -> dict[str, Any]:
        return {name: self.known.get(name, value) for name, value in path_parameters.items()}


@pytest.fixture(scope="module")
def things(stack: Stack) -> Iterator[tuple[requests.Session, Things]]:
    """A station, a token, an agreement and so on, so that not every path leads nowhere."""
    mark = secrets.token_hex(4)
    headers = {"Authorization": f"Bearer {stack.operator_token(EVERY_SCOPE)}"}
    with httpx.Client(headers=headers, timeout=30, trust_env=False) as client:

        def done(method: str, service: str, path: str, body: Any = None) -> Any:
            answer = client.request(method, stack.http(service) + path, json=body)
            assert answer.is_success, answer.text
            return answer.json()

        done("POST", "config", "/v1/stations", {"id": f"CP-{mark}"})
        done("PUT", "auth", f"/v1/stations/CP-{mark}/credentials", {})
        command = done(
            "POST", "config", f"/v1/stations/CP-{mark}/commands", {"action": "clear_cache"}
        )
        token = done("POST", "auth", "/v1/tokens", {"id_token": mark})
        agreement = done("POST", "agreements", "/v1/agreements", {"kind": "driver", "name": mark})
        known = {
            "station_id": f"CP-{mark}",
            "command_id": command["id"],
            "ref": token["ref"],
            "agreement_id": agreement["id"],
            "name": f"group:{mark}",
        }
        with requests.Session() as session:
            session.trust_env = False
            session.headers.update(headers)
            yield session, Things(known)


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_every_answer_is_one_that_the_document_has(
    stack: Stack,
    things: tuple[requests.Session, Things],
    service: str,
    mode: GenerationMode,
) -> None:
    """Good and bad requests to every operation: each answer is declared, and none is a 5xx."""
    session, existing = things
    url = stack.http(service)
    document = session.get(f"{url}/openapi.json", timeout=30).json()
    schema = schemathesis.openapi.from_dict(document)
    failures = []
    statuses: Counter[int] = Counter()
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        try:
            statuses += attempt(operation, mode, url, session, existing)
        except BaseExceptionGroup as group:
            failures += [f"{operation.label}: {error}" for error in group.exceptions]
        except Exception as error:  # noqa: BLE001 - all operations are looked at, then told of
            failures.append(f"{operation.label}: {error}")
    assert not failures, "\n\n".join(failures)
    # All that would pass as well if no request were let in.
    assert 403 not in statuses
    if mode is GenerationMode.POSITIVE:  # bad requests may have a bad token
        assert 401 not in statuses
        assert sum(statuses[status] for status in (200, 201, 202, 204)) >= len(statuses)
    else:
        assert statuses[422] > len(statuses)


def attempt(
    operation: Any, mode: GenerationMode, url: str, session: requests.Session, existing: Things
) -> Counter[int]:
    """Send an operation's examples, in turns to what exists and to what does not."""
    turns = itertools.count()
    statuses: Counter[int] = Counter()

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def send(case: Any) -> None:
        if next(turns) % 2 == 0:
            case.path_parameters = existing.put_into(dict(case.path_parameters or {}))
        if any(str(value) in EVERYWHERE for value in (case.path_parameters or {}).values()):
            return
        answer = case.call(base_url=url, session=session, timeout=30)
        statuses[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)

    send()
    return statuses
