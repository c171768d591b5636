"""Rotations on real MongoDB: processes that die, replicas that decide at once, records again."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from auth.auth_examples import NOW, STATION, command_changed, connected
from voltbus_auth.credentials.domain.changes import rotation
from voltbus_auth.credentials.domain.changes.change import Change, State
from voltbus_auth.credentials.domain.changes.rotation import PasswordKey
from voltbus_auth.credentials.domain.credentials import Credentials, fast_verifier
from voltbus_auth.credentials.handlers.changes import Following
from voltbus_auth.credentials.handlers.conductor import Conductor
from voltbus_auth.credentials.store.changes import Move, OvertakenError
from voltbus_backbone.bus import envelope
from voltbus_backbone.contract.config import CommandStatus
from voltbus_backbone.contract.registry import COMMAND_CHANGED, STATION_CONNECTED, Topic
from voltbus_backbone.errors import Unavailable

if TYPE_CHECKING:
    from auth.conftest import Clock, Served
    from voltbus_backbone.bus.envelope import Event
    from voltbus_backbone.bus.testing import MemoryBus
    from voltbus_backbone.contract.registry import MessageType
    from voltbus_backbone.contract.values import Message

pytestmark = pytest.mark.stack

PASSWORD_KEY = PasswordKey(secrets.token_bytes(32), "key-1")
OLD = fast_verifier(secrets.token_hex(20), secrets.token_bytes)


class Auth:
    """The parts of one replica that rotate, on a store that others may share."""

    def __init__(self, served: Served, clock: Clock, bus: MemoryBus) -> None:
        store = served.store
        self.bus = bus
        self.conductor = Conductor(
            store.change,
            store.credential,
            bus,
            key=PASSWORD_KEY,
            source="/voltbus/auth/auth-1",
            now=clock,
        )
        self.following = Following(store.change, store.credential, self.conductor)


@pytest_asyncio.fixture(loop_scope="session")
async def auth(served: Served, clock: Clock) -> Auth:
    """A replica, and a station with one password."""
    await served.store.credential.put(
        Credentials(station_id=STATION, minimum_profile=1, verifiers=(OLD,), updated_at=NOW)
    )
    return Auth(served, clock, served.bus)


async def known(served: Served) -> Credentials:
    return (await served.store.credential.credentials([STATION]))[STATION]


async def begin(served: Served, change_id: str = "r-1") -> Change:
    change, both = rotation.begin(
        change_id,
        await known(served),
        PASSWORD_KEY,
        secrets.token_bytes,
        NOW,
        wait_s=60,
        timeout_s=30,
    )
    await served.store.change.start(Move(change, both))
    return change


def heard(row: MessageType[Any], message: Message, name: str) -> Event:
    record = envelope.event(row, message, id=name, source="/voltbus/test", now=NOW)
    found = envelope.parse(record.headers, record.value, topic=str(row.topic))
    found.decode()
    return found


def command(status: CommandStatus, answer: str | None = None) -> Event:
    message = command_changed("set_password", status, answer, cause="rotation:r-1")
    return heard(COMMAND_CHANGED, message, f"cmd-1:{status}")


def login(credential_id: str, seconds: int) -> Event:
    message = connected(
        NOW + timedelta(seconds=seconds),
        connection_id=f"c-{seconds}",
        credential_id=credential_id,
    )
    return heard(STATION_CONNECTED, message, f"login-{seconds}")


async def asked(bus: MemoryBus) -> list[Any]:
    return [event.message for event in bus.events(Topic.CONFIG_REQUESTS)]


async def test_a_process_that_dies_before_asking_leaves_it_to_the_next(
    served: Served, clock: Clock, auth: Auth
) -> None:
    """After its claim has lapsed, the same command is asked for, with the same password."""
    await begin(served)
    auth.bus.broken = True
    with pytest.raises(Unavailable):
        await auth.conductor.look()
    auth.bus.broken = False
    assert await auth.conductor.look() == 0
    clock.time += timedelta(seconds=20)
    other = Auth(served, clock, auth.bus)
    assert await other.conductor.look() == 1
    (request,) = await asked(auth.bus)
    assert request.idempotency_key == request.cause == "rotation:r-1"
    new = (await known(served)).verifiers[0]
    assert fits(request.payload["password"], new.salt, new.digest)
    stored = await served.store.change.get("r-1")
    assert stored is not None
    assert stored.state is State.COMMANDED


async def test_a_process_that_dies_after_asking_asks_for_the_same_again(
    served: Served, clock: Clock, auth: Auth
) -> None:
    """Published and not marked: the repetition is the same to the letter, so config keeps one."""
    await begin(served)
    claimed = await served.store.change.claim(clock())
    wanted = rotation.wanted(claimed[0], PASSWORD_KEY)
    assert wanted is not None
    clock.time += timedelta(seconds=20)
    assert await auth.conductor.look() == 1
    (request,) = await asked(auth.bus)
    assert request.payload == wanted.payload


async def test_the_password_is_nowhere_in_the_store(served: Served, auth: Auth) -> None:
    """Neither while the rotation is open nor afterwards; the seed goes with its end (A6)."""
    await begin(served)
    await auth.conductor.look()
    (request,) = await asked(auth.bus)
    password = request.payload["password"]
    assert password not in await everything(served)
    assert "seed" in await everything(served)
    await auth.following.handle([command(CommandStatus.ANSWERED, "Accepted")])
    assert password not in await everything(served)
    assert "seed" not in await everything(served)


async def test_two_replicas_begin_at_once(served: Served, auth: Auth) -> None:
    """One rotation begins, and there are two verifiers, not three."""
    del auth
    results = await asyncio.gather(
        *(begin(served, f"r-{number}") for number in range(4)), return_exceptions=True
    )
    assert len([one for one in results if isinstance(one, Change)]) == 1
    assert all(isinstance(one, Change | OvertakenError) for one in results)
    held = await known(served)
    assert len(held.verifiers) == 2
    assert held.change_id in {f"r-{number}" for number in range(4)}


async def test_two_replicas_hear_it_at_once_and_again(
    served: Served, clock: Clock, auth: Auth
) -> None:
    """The same events at both, and then again: one end, and the verifier that the station uses."""
    change = await begin(served)
    assert change.password is not None
    new = change.password.credential_id
    other = Auth(served, clock, auth.bus)
    batch = [command(CommandStatus.SENT), command(CommandStatus.TIMED_OUT), login(new, 40)]

    async def insist(replica: Auth) -> None:
        # As the consumption loop does: what cannot be done now is tried again.
        while True:
            try:
                await replica.following.handle(batch)
            except Unavailable:
                await asyncio.sleep(0)
            else:
                return

    await asyncio.gather(insist(auth), insist(other))
    first = await known(served)
    assert ([one.id for one in first.verifiers], first.change_id) == ([new], None)
    stored = await served.store.change.get("r-1")
    await auth.following.handle(batch)
    await auth.following.handle([command(CommandStatus.ANSWERED, "Rejected"), login(OLD.id, 50)])
    assert await known(served) == first
    assert await served.store.change.get("r-1") == stored


async def test_the_clock_leaves_both(served: Served, clock: Clock, auth: Auth) -> None:
    """Config never said anything: unsettled, both are let in, and a later log-in ends it."""
    await begin(served)
    await auth.conductor.look()
    clock.time += timedelta(seconds=60 + 30 + 121)
    assert await auth.conductor.look() == 1
    stored = await served.store.change.get("r-1")
    assert stored is not None
    assert stored.state is State.UNSETTLED
    assert len((await known(served)).verifiers) == 2
    await auth.following.handle([login(OLD.id, 300)])
    assert [one.id for one in (await known(served)).verifiers] == [OLD.id]


async def test_credentials_that_are_deleted_do_not_come_back(served: Served, auth: Auth) -> None:
    """A station that was shut out while its rotation was open stays shut out."""
    await begin(served)
    assert await served.store.credential.delete(STATION)
    await auth.following.handle([command(CommandStatus.ANSWERED, "Accepted")])
    assert await served.store.credential.credentials([STATION]) == {}
    stored = await served.store.change.get("r-1")
    assert stored is not None
    assert stored.state is State.SUCCEEDED


async def test_credentials_of_before_have_names_too(served: Served, auth: Auth) -> None:
    """Documents written by an earlier version rotate: names come from salts, not from the store."""
    await served.database["credentials"].update_one(
        {"_id": STATION}, {"$unset": {"change_id": "", "verifiers.0.id": ""}}
    )
    assert [one.id for one in (await known(served)).verifiers] == [OLD.id]
    change = await begin(served)
    assert change.password is not None
    await auth.following.handle([command(CommandStatus.ANSWERED, "Accepted")])
    assert [one.id for one in (await known(served)).verifiers] == [change.password.credential_id]


def fits(password: str, salt: str, digest: str) -> bool:
    return hashlib.sha256(bytes.fromhex(salt) + password.encode()).hexdigest() == digest


async def everything(served: Served) -> str:
    """Every document of the database, as text."""
    names = await served.database.list_collection_names()
    return str([await served.database[name].find().to_list(None) for name in names])
