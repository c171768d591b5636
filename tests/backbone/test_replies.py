"""Reply addresses: a request names its own, so it is judged before anything is sent there."""

from __future__ import annotations

import pytest

from voltbus_backbone.bus.envelope import Asking
from voltbus_backbone.bus.replies import ReplyAddresses, reply_topics
from voltbus_backbone.contract.registry import Topic
from voltbus_backbone.errors import SettingsError, Unavailable

INBOX = "voltbus.gateway.inbox"


class Cluster:
    """The topics of a cluster, and how often it was asked for them."""

    def __init__(self, **partitions: int) -> None:
        self.partitions = {INBOX: 6, "voltbus.stations.state": 6, **partitions}
        self.asked = 0
        self.away = False
        self.now = 0.0

    async def counts(self) -> dict[str, int]:
        self.asked += 1
        if self.away:
            raise Unavailable("no broker")
        return dict(self.partitions)


async def addresses(cluster: Cluster, configured: str | None = None) -> ReplyAddresses:
    made = ReplyAddresses(
        reply_topics("voltbus.", configured), cluster.counts, clock=lambda: cluster.now
    )
    await made.learn()
    return made


def at(topic: str, partition: int) -> Asking:
    return Asking("c", topic, partition, 0)


async def test_an_inbox_of_ours_is_good_up_to_its_last_partition() -> None:
    """The partitions are those that the topic has, not those that somebody names."""
    known = await addresses(Cluster())
    assert [known.good(at(INBOX, number)) for number in (0, 5, 6)] == [True, True, False]


@pytest.mark.parametrize(
    ("topic", "partition"),
    [
        (INBOX, -1),
        (INBOX, 9999),
        (INBOX, 2**40),
        ("voltbus.stations.state", 0),
        ("voltbus.auth.requests", 0),
        ("voltbus.nobody.inbox", 0),
        ("voltbus.auth.inbox", 0),  # ours, and not created
        ("gateway.inbox", 0),
        ("a topic/that cannot be", 0),
        ("", 0),
    ],
)
async def test_another_address_is_refused(topic: str, partition: int) -> None:
    """A service must not write where its asker may not, nor wait for what does not exist."""
    known = await addresses(Cluster())
    assert not known.good(at(topic, partition))
    assert await known.refusal(at(topic, partition)) is not None


async def test_partitions_that_were_added_are_found_but_not_looked_for_all_the_time() -> None:
    """Whoever asks with partitions that do not exist causes one look in ten seconds."""
    cluster = Cluster()
    known = await addresses(cluster)
    cluster.partitions[INBOX] = 12
    for _ in range(5):
        assert await known.refusal(at(INBOX, 11)) is not None
    assert cluster.asked == 1
    cluster.now += 10
    assert await known.refusal(at(INBOX, 11)) is None
    assert known.good(at(INBOX, 11))
    cluster.now += 10
    for _ in range(5):
        await known.refusal(at(INBOX, 500))
    assert cluster.asked == 3


async def test_what_is_known_holds_while_no_broker_answers() -> None:
    """A look that fails takes nothing away."""
    cluster = Cluster()
    known = await addresses(cluster)
    cluster.away, cluster.now = True, 60.0
    assert await known.refusal(at(INBOX, 7)) is not None
    assert known.good(at(INBOX, 5))


async def test_a_configured_topic_is_good_too() -> None:
    """Other systems have inboxes of their own (VOLTBUS_REPLY_TOPICS)."""
    cluster = Cluster(**{"voltbus.partner.replies": 1})
    known = await addresses(cluster, " voltbus.partner.replies ,voltbus.another.inbox")
    assert known.good(at("voltbus.partner.replies", 0))
    assert await known.refusal(at("voltbus.another.inbox", 0)) is not None


@pytest.mark.parametrize(
    "configured",
    ["voltbus.stations.state", "partner.replies", "voltbus.a b", "voltbus.x,voltbus.auth.requests"],
)
def test_a_topic_of_our_own_cannot_be_configured(configured: str) -> None:
    """A setting must not open what the list is there to close."""
    with pytest.raises(SettingsError, match="VOLTBUS_REPLY_TOPICS"):
        reply_topics("voltbus.", configured)


def test_every_inbox_of_the_contract_may_be_answered() -> None:
    """Services ask one another by their inboxes."""
    inboxes = {"voltbus." + topic for topic in Topic if topic.endswith(".inbox")}
    assert reply_topics("voltbus.", None) == inboxes
