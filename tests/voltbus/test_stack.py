"""The stack as tests and benchmarks use it: parts that are killed, halted, restarted, added."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure

from voltbus.embedded import Plan, Ports, Stack, temporary_stack
from voltbus.embedded.mongod import ADMIN, check_replica_set
from voltbus.embedded.services import SERVICES
from voltbus.embedded.topics import make_topics
from voltbus.errors import CommandError
from voltbus_backbone.bus.kafka import ensure_topics
from voltbus_backbone.settings import KafkaSettings
from voltbus_watching import is_running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.stack

STAND_IN = [sys.executable, str(Path(__file__).with_name("stand_in_service.py"))]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def standing() -> AsyncIterator[Stack]:
    """Real servers, and stand-ins for the services."""
    async with temporary_stack(
        commands=dict.fromkeys(SERVICES, STAND_IN),
        environment={"": {"VOLTBUS_LOG_LEVEL": "warning"}, "auth": {"VOLTBUS_LOG_LEVEL": "debug"}},
        partitions=2,
    ) as stack:
        yield stack


async def seen_by(stack: Stack, name: str) -> dict[str, str | None]:
    """Some of the environment that a service's process has."""
    async with httpx.AsyncClient() as client:
        answer = await client.get(stack.http(name))
    found: dict[str, str | None] = json.loads(answer.content)
    return found


def documents(stack: Stack, user: str) -> AsyncMongoClient[dict[str, Any]]:
    """A client as this user."""
    return AsyncMongoClient(stack.mongo_uri(user))


async def test_each_service_is_told_what_it_needs_and_no_more(standing: Stack) -> None:
    """Its own database; the token key for auth only; the OCPP port for the gateway only."""
    auth, gateway = await seen_by(standing, "auth"), await seen_by(standing, "gateway")
    assert auth["VOLTBUS_INSTANCE_ID"] == "auth-1"
    assert auth["VOLTBUS_KAFKA_BOOTSTRAP"] == standing.kafka
    assert auth["VOLTBUS_MONGO_DATABASE"] == "voltbus_auth"
    assert auth["VOLTBUS_TOKEN_KEY_FILE"] is not None
    assert auth["VOLTBUS_OCPP_PORT"] is auth["VOLTBUS_OCPP_TLS_PORT"] is None
    assert auth["VOLTBUS_STATION_CA_KEY_FILE"] is not None
    assert gateway["VOLTBUS_STATION_CA_KEY_FILE"] is None
    assert gateway["VOLTBUS_MONGO_DATABASE"] is None
    assert gateway["VOLTBUS_TOKEN_KEY_FILE"] is None
    assert standing.ocpp() == f"ws://127.0.0.1:{gateway['VOLTBUS_OCPP_PORT']}/ocpp"
    assert standing.secured(2) == f"wss://localhost:{gateway['VOLTBUS_OCPP_TLS_PORT']}/ocpp"
    assert standing.secured(3) == f"wss://localhost:{gateway['VOLTBUS_OCPP_MTLS_PORT']}/ocpp"


async def test_the_environment_can_be_added_to(standing: Stack) -> None:
    """For all services, and for one."""
    assert (await seen_by(standing, "config"))["VOLTBUS_LOG_LEVEL"] == "warning"
    assert (await seen_by(standing, "auth"))["VOLTBUS_LOG_LEVEL"] == "debug"


async def test_a_killed_service_comes_back_where_it_was(standing: Stack) -> None:
    """Kill -9, restart with another environment: new process, same address, ready."""
    before = standing.pid("auth"), standing.http("auth")
    await standing.kill("auth")
    assert not is_running(before[0])
    await standing.restart("auth", {"VOLTBUS_LOG_LEVEL": "error"})
    assert standing.pid("auth") != before[0]
    assert standing.http("auth") == before[1]
    assert (await seen_by(standing, "auth"))["VOLTBUS_LOG_LEVEL"] == "error"


async def test_more_replicas_of_a_service(standing: Stack) -> None:
    """Each has a name, an instance id and ports of its own."""
    name = await standing.add_replica("gateway")
    assert name == "gateway-2"
    assert (await seen_by(standing, name))["VOLTBUS_INSTANCE_ID"] == "gateway-2"
    assert standing.ocpp(name) != standing.ocpp()
    await standing.stop_part(name)
    assert not is_running(standing.pid(name))


async def test_the_topics_are_there_and_survive_kafkas_death(standing: Stack) -> None:
    """A second creation finds nothing to do, also after kill -9 of the broker."""
    settings = KafkaSettings(bootstrap=standing.kafka)
    assert await ensure_topics(settings, standing.topic_prefix) == []
    await standing.kill("kafka")
    await standing.restart("kafka")
    assert await ensure_topics(settings, standing.topic_prefix) == []


async def test_documents_survive_mongods_death(standing: Stack) -> None:
    """What was acknowledged by the majority is there after kill -9."""
    async with documents(standing, "agreements") as client:
        await client["voltbus_agreements"]["agreements"].insert_one({"_id": "kept"})
    await standing.kill("mongod")
    await standing.restart("mongod")
    async with documents(standing, "agreements") as client:
        assert await client["voltbus_agreements"]["agreements"].find_one() == {"_id": "kept"}


async def test_a_halted_process_is_not_ready(standing: Stack) -> None:
    """SIGSTOP stands for a process that hangs; SIGCONT lets it go on."""
    await standing.signal("config", signal.SIGSTOP)
    with pytest.raises(httpx.TimeoutException):
        async with httpx.AsyncClient(timeout=0.2) as client:
            await client.get(standing.http("config"))
    await standing.signal("config", signal.SIGCONT)
    await standing.wait_ready("config")


@pytest.mark.parametrize("service", ["auth", "config", "agreements"])
async def test_a_services_user_can_do_its_work(standing: Stack, service: str) -> None:
    """Documents, indexes (with expiry), collections, transactions, change streams."""
    async with documents(standing, service) as client:
        database = client[standing.database(service)]
        await database.create_collection("work")
        await database["work"].create_index("at", expireAfterSeconds=60)
        async with await database["work"].watch() as changes:
            async with client.start_session() as session, await session.start_transaction():
                await database["work"].insert_one({"_id": 1}, session=session)
                await database["work"].update_one({"_id": 1}, {"$set": {"n": 2}}, session=session)
            change = await changes.next()
            assert change["operationType"] == "insert"
        await database["work"].drop()


@pytest.mark.parametrize(
    ("user", "database"),
    [("auth", "voltbus_config"), ("config", "config"), ("agreements", "voltbus_auth")],
)
async def test_a_services_user_can_write_nowhere_else(
    standing: Stack, user: str, database: str
) -> None:
    """Services never share a database: the server refuses it, not only our habit."""
    async with documents(standing, user) as client:
        with pytest.raises(OperationFailure, match="not authorized"):
            await client[database]["intruder"].insert_one({})
        with pytest.raises(OperationFailure, match="not authorized"):
            await client[database]["stations"].find_one()


async def test_without_a_user_nothing_goes(standing: Stack) -> None:
    """The localhost exception ended with the first user."""
    async with AsyncMongoClient[dict[str, Any]](standing.describe()["mongo"]) as client:
        with pytest.raises(OperationFailure, match="requires authentication"):
            await client["voltbus_auth"]["tokens"].find_one()


async def test_services_on_servers_that_exist(standing: Stack, tmp_path: Path) -> None:
    """--kafka and --mongo: nothing is started but services, and no password is shown."""
    plan = Plan(
        home=tmp_path,
        ports=Ports.free(),
        kafka=standing.kafka,
        mongo=standing.mongo_uri(ADMIN),
        services=("auth",),
        commands={"auth": STAND_IN},
    )
    async with Stack(plan) as stack:
        what = stack.describe()
        assert what["kafka"] == standing.kafka
        assert what["pids"]["kafka"] is what["pids"]["mongod"] is None
        assert "@" not in what["mongo"]
        assert (await seen_by(stack, "auth"))["VOLTBUS_KAFKA_BOOTSTRAP"] == standing.kafka


async def test_a_broker_that_does_not_answer_is_a_sentence() -> None:
    """--kafka with a wrong address ends the start with exit code 2."""
    with pytest.raises(CommandError, match="topics could not be made: Kafka does not answer"):
        await make_topics("127.0.0.1:9", "voltbus.", None)


async def test_a_server_of_mongo_that_refuses_us_is_a_sentence(standing: Stack) -> None:
    """--mongo with a wrong password: told by name of the failure, the password is not repeated."""
    uri = standing.mongo_uri("auth").replace("auth:", "auth:wrong", 1)
    with pytest.raises(CommandError, match=r"does not answer at mongodb://127\.0\.0\.1") as caught:
        await check_replica_set(uri)
    assert "wrong" not in str(caught.value)
