"""deploy/k8s/access.yaml: the rights on Kafka and MongoDB are enough, and no more."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from voltbus_backbone.contract.registry import TYPES, Topic

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
ACCESS = yaml.safe_load((ROOT / "deploy/k8s/access.yaml").read_text())
SERVICES = ("gateway", "auth", "config", "agreements")


def consumptions(service: str) -> Iterator[tuple[str, set[str]]]:
    """The group and topics of every Consumption that the service's source declares."""
    for path in (ROOT / "services" / service / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Consumption":
                arguments = dict(zip(("group", "topics"), node.args, strict=False))
                arguments |= {item.arg: item.value for item in node.keywords if item.arg}
                group: Any = arguments["group"]
                yield (
                    group.value,
                    {
                        Topic[item.attr].value
                        for item in ast.walk(arguments["topics"])
                        if isinstance(item, ast.Attribute)
                    },
                )


def test_only_topics_that_exist_are_named() -> None:
    """A right on a topic that nobody has would be a slip."""
    named = {
        topic
        for user in ACCESS["kafka"].values()
        for way in ("read", "write")
        for topic in user[way]
    }
    assert named == set(Topic)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_may_read_what_it_consumes(service: str) -> None:
    """Every consumption's topics and group are granted to the service's user."""
    user = ACCESS["kafka"][f"voltbus-{service}"]
    for group, topics in consumptions(service):
        assert topics <= set(user["read"])
        assert any(group.startswith(prefix) for prefix in user["groups"])


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_may_answer_and_put_aside(service: str) -> None:
    """It reads its own inbox, writes its own dead letters, and answers whoever may ask it."""
    user = ACCESS["kafka"][f"voltbus-{service}"]
    assert f"{service}.inbox" in user["read"]
    assert f"{service}.dead-letter" in user["write"]
    for other in SERVICES:
        may_ask = f"{service}.requests" in ACCESS["kafka"][f"voltbus-{other}"]["write"]
        if other != service and may_ask:
            assert f"{other}.inbox" in user["write"]


def test_only_the_owner_writes_facts() -> None:
    """A topic of facts has one owner; `stations.events` alone is both gateway's and config's."""
    writers = {
        topic: {name for name, user in ACCESS["kafka"].items() if topic in user["write"]}
        for topic in {row.topic for row in TYPES.values()}
        if topic is not None and topic.endswith((".events", ".state"))
    }
    assert writers == {
        "stations.events": {"voltbus-gateway", "voltbus-config"},
        "stations.state": {"voltbus-config"},
        "commands.events": {"voltbus-config"},
        "tokens.events": {"voltbus-auth"},
        "transactions.events": {"voltbus-auth"},
        "agreements.events": {"voltbus-agreements"},
    }


def test_subscribers_see_no_request_and_no_inbox() -> None:
    """Readable identifiers are in requests and replies only: an onlooker may not read these."""
    assert not [
        topic
        for topic in ACCESS["kafka"]["subscriber"]["read"]
        if not topic.endswith((".events", ".state"))
    ]


def test_a_database_has_one_user() -> None:
    """Services never share a database; the gateway has none."""
    assert ACCESS["mongodb"] == {
        f"voltbus-{name}": [{"role": "readWrite", "db": f"voltbus_{name}"}]
        for name in ("auth", "config", "agreements")
    }
