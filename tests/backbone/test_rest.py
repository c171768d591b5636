"""Paging, entity tags, merge patch and idempotency keys."""

from __future__ import annotations

import asyncio

import pytest

from voltbus_backbone.errors import Problem
from voltbus_backbone.rest.conventions import (
    Idempotency,
    Paging,
    StoredAnswer,
    etag,
    merge_patch,
    require_match,
)


class MemoryKeys:
    """A KeyStore that lives as long as the test."""

    def __init__(self) -> None:
        self.kept: dict[str, StoredAnswer] = {}

    async def claim(self, key: str, fingerprint: str) -> StoredAnswer | None:
        if key in self.kept:
            return self.kept[key]
        self.kept[key] = StoredAnswer(fingerprint)
        return None

    async def finish(self, key: str, answer: StoredAnswer) -> None:
        self.kept[key] = answer

    async def release(self, key: str) -> None:
        self.kept.pop(key, None)


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({"a": "b"}, ["c"], ["c"]),
    ],
)
def test_merge_patch_follows_the_rfc(target: object, patch: object, result: object) -> None:
    """The cases of RFC 7396 appendix A."""
    assert merge_patch(target, patch) == result


def test_a_missing_if_match_is_428_and_a_stale_one_412() -> None:
    """Conditional changes: RFC 6585 section 3 and RFC 9110 section 13.1.1."""
    with pytest.raises(Problem) as missing:
        require_match(None, 3)
    assert missing.value.status == 428
    with pytest.raises(Problem) as stale:
        require_match('"2"', 3)
    assert stale.value.status == 412
    require_match(etag(3), 3)
    require_match("*", 3)
    require_match(None, 3, required=False)


def test_a_page_has_one_cursor() -> None:
    """A list goes forwards or backwards, not both."""
    with pytest.raises(Problem) as both:
        Paging(20, "a", "b")
    assert both.value.status == 422


async def test_the_same_key_gives_the_same_answer_once() -> None:
    """The operation runs once, whoever repeats the request."""
    runs = []

    async def operation() -> StoredAnswer:
        runs.append(1)
        return StoredAnswer("", 201, b'{"id":"x"}', {"Location": "/x"})

    once = Idempotency(MemoryKeys())
    first = await once.run("k", {"a": 1, "b": 2}, operation)
    again = await once.run("k", {"b": 2, "a": 1}, operation)
    assert (again.status, again.body, again.headers) == (first.status, first.body, first.headers)
    assert len(runs) == 1


async def test_another_payload_under_the_same_key_is_422() -> None:
    """A key stands for one request."""

    async def operation() -> StoredAnswer:
        return StoredAnswer("", 201, b"{}")

    once = Idempotency(MemoryKeys())
    await once.run("k", {"a": 1}, operation)
    with pytest.raises(Problem) as caught:
        await once.run("k", {"a": 2}, operation)
    assert caught.value.status == 422


async def test_a_key_whose_request_still_runs_is_409() -> None:
    """Two at once: the second is told to come back."""
    going = asyncio.Event()
    done = asyncio.Event()

    async def slow() -> StoredAnswer:
        going.set()
        await done.wait()
        return StoredAnswer("", 201, b"{}")

    once = Idempotency(MemoryKeys())
    first = asyncio.create_task(once.run("k", {}, slow))
    await going.wait()
    with pytest.raises(Problem) as caught:
        await once.run("k", {}, slow)
    done.set()
    await first
    assert caught.value.status == 409


async def test_a_failed_request_gives_its_key_back() -> None:
    """What had no effect may be tried again under the same key."""

    async def fails() -> StoredAnswer:
        raise Problem(409, "conflict", "no")

    async def works() -> StoredAnswer:
        return StoredAnswer("", 201, b"{}")

    once = Idempotency(MemoryKeys())
    with pytest.raises(Problem):
        await once.run("k", {}, fails)
    assert (await once.run("k", {}, works)).status == 201
