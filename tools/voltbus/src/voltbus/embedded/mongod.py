"""MongoDB as a replica set of one, with a user per service that can use its database only."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voltbus.embedded.addresses import without_credentials
from voltbus.embedded.folders import write_private
from voltbus.embedded.ports import LOOPBACK
from voltbus.embedded.processes import POLL, Part, quiet_environment
from voltbus.embedded.readiness import port_open
from voltbus.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from pymongo import AsyncMongoClient

    from voltbus.embedded.folders import Home
    from voltbus.embedded.ports import Ports

REPLICA_SET = "rs0"
ADMIN = "voltbus-admin"
USERS = ("auth", "config", "agreements")  # one for each service that has a database
# A database cannot just be called `config`: that name is MongoDB's own, and it refuses transactions
# and change streams there. The prefix also keeps ours apart on a server that others use too.
DATABASE_PREFIX = "voltbus_"
ELECTION_MILLISECONDS = 1000
EXISTING_SERVER_MILLISECONDS = 5000  # how long a server of --mongo has to answer
PATIENCE = 60.0  # seconds until a replica set of one has elected itself

# Error codes of the server.
AUTHENTICATION_FAILED = 18
ALREADY_INITIALIZED = 23
REQUIRES_AUTHENTICATION = 13
USER_EXISTS = 51003


@dataclass(frozen=True, slots=True)
class Mongod:
    """One mongod: its binary, its home and its ports."""

    binary: Path
    home: Home
    ports: Ports

    @property
    def address(self) -> str:
        """host:port."""
        return f"{LOOPBACK}:{self.ports.mongod}"

    def prepare(self) -> Part:
        """Make its folders and secrets, and say how to start it."""
        folder = self.home.folder("mongod")
        self.home.folder("mongod", "data")
        key_file = folder / "replica-set.key"
        if not key_file.exists():
            # mongod refuses a key file that anybody may write or others may read.
            write_private(key_file, base64.b64encode(os.urandom(96)), mode=0o400)
        return Part(
            name="mongod",
            command=[
                *(str(self.binary), "--dbpath", str(folder / "data")),
                *("--bind_ip", LOOPBACK, "--port", str(self.ports.mongod)),
                *("--replSet", REPLICA_SET, "--keyFile", str(key_file)),
                *("--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "128"),
                *("--nounixsocket", "--setParameter", "diagnosticDataCollectionEnabled=false"),
            ],
            environment=quiet_environment(),
            directory=folder,
            log=self.home.folder("logs") / "mongod.log",
            ready=self.ready,
            grace=5.0,
        )

    async def ready(self) -> bool:
        """Whether it answers, and takes writes if it is a member of its replica set already."""
        if not await port_open(LOOPBACK, self.ports.mongod):
            return False
        from pymongo.errors import PyMongoError  # noqa: PLC0415 - slow to import; --help needs none

        try:
            async with _client(self.address) as client:
                hello = await client.admin.command("hello")
        except PyMongoError:
            return False
        # `isreplicaset`: started with --replSet, but not (or no longer) a member of one.
        return bool(hello.get("isWritablePrimary") or hello.get("isreplicaset"))

    async def initialise(self) -> None:
        """Make it the primary of its replica set, with all users. Can be repeated at any time.

        The first steps use the server's localhost exception: it lets a connection from this
        machine do them as long as no user exists.
        """
        passwords = self._passwords()
        await self._initiate()
        await self._make_admin(passwords[ADMIN])
        async with _client(self.address, ADMIN, passwords[ADMIN]) as client:
            await self._name_this_port(client)
            await _wait_for_primary(client)
            for user in USERS:
                await _make_user(client, user, passwords[user])

    def uri(self, user: str) -> str:
        """The connection string of a service (its name) or of the administrator (`ADMIN`)."""
        password = self._passwords()[user]
        return (
            f"mongodb://{user}:{password}@{self.address}/?replicaSet={REPLICA_SET}&authSource=admin"
        )

    def _passwords(self) -> Mapping[str, str]:
        """The users' passwords, made and stored before the users are."""
        path = self.home.path / "mongo-users.json"
        if path.exists():
            found: dict[str, str] = json.loads(path.read_bytes())
            return found
        made = {user: secrets.token_urlsafe(24) for user in (ADMIN, *USERS)}
        write_private(path, json.dumps(made).encode())
        return made

    async def _initiate(self) -> None:
        from pymongo.errors import OperationFailure  # noqa: PLC0415 - slow to import

        settings = {"electionTimeoutMillis": ELECTION_MILLISECONDS}
        members = [{"_id": 0, "host": self.address}]
        config = {"_id": REPLICA_SET, "members": members, "settings": settings}
        async with _client(self.address) as client:
            try:
                await client.admin.command("replSetInitiate", config)
                await _wait_for_primary(client)
            except OperationFailure as error:
                # Both mean that an earlier start did it.
                if error.code not in {ALREADY_INITIALIZED, REQUIRES_AUTHENTICATION}:
                    raise

    async def _make_admin(self, password: str) -> None:
        from pymongo.errors import OperationFailure  # noqa: PLC0415 - slow to import

        try:
            async with _client(self.address, ADMIN, password) as client:
                await client.admin.command("ping")
        except OperationFailure as error:
            if error.code != AUTHENTICATION_FAILED:
                raise
        else:
            return
        try:
            async with _client(self.address) as client:
                await _wait_for_primary(client)
                await client.admin.command("createUser", ADMIN, pwd=password, roles=["root"])
        except OperationFailure as error:
            if error.code != REQUIRES_AUTHENTICATION:
                raise
            raise CommandError(
                f"The passwords in {self.home.path / 'mongo-users.json'} do not fit the data in "
                f"{self.home.path / 'mongod'}: start once with --fresh, which empties the home."
            ) from None

    async def _name_this_port(self, client: AsyncMongoClient[dict[str, Any]]) -> None:
        """Tell the replica set its member's address when it is another than the last time."""
        config = (await client.admin.command("replSetGetConfig"))["config"]
        if config["members"][0]["host"] == self.address:
            return
        config["members"][0]["host"] = self.address
        config["version"] += 1
        await client.admin.command("replSetReconfig", config, force=True)


def database_of(service: str) -> str:
    """The name of a service's database."""
    return DATABASE_PREFIX + service


async def check_replica_set(uri: str) -> None:
    """Raise CommandError unless a MongoDB answers there that knows transactions."""
    from pymongo import AsyncMongoClient  # noqa: PLC0415 - slow to import; --help needs none
    from pymongo.errors import PyMongoError  # noqa: PLC0415 - likewise

    where = without_credentials(uri)
    try:
        client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
            uri, serverSelectionTimeoutMS=EXISTING_SERVER_MILLISECONDS
        )
        try:
            hello = await client.admin.command("hello")
        finally:
            await client.close()
    except PyMongoError as error:
        raise CommandError(
            f"The MongoDB of --mongo does not answer at {where} ({type(error).__name__}): check "
            "its address, its options and its user."
        ) from None
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        raise CommandError(
            f"The MongoDB at {where} is no replica set, and Voltbus needs transactions: start it "
            "with --replSet rs0 and run rs.initiate() once (one node is enough)."
        )


async def _make_user(client: AsyncMongoClient[dict[str, Any]], name: str, password: str) -> None:
    """A user that reads and writes its own database, and nothing else.

    `readWrite` contains what a service does there: documents, collections, indexes,
    transactions and change streams.
    """
    from pymongo.errors import OperationFailure  # noqa: PLC0415 - slow to import

    roles = [{"role": "readWrite", "db": database_of(name)}]
    try:
        await client.admin.command("createUser", name, pwd=password, roles=roles)
    except OperationFailure as error:
        if error.code != USER_EXISTS:
            raise


async def _wait_for_primary(client: AsyncMongoClient[dict[str, Any]]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not (await client.admin.command("hello")).get("isWritablePrimary"):
        if time.monotonic() > deadline:
            raise CommandError(
                f"MongoDB did not become the primary of its replica set in {PATIENCE:.0f} s: "
                "its log (logs/mongod.log in the home) says why; --fresh begins with new data."
            )
        await asyncio.sleep(POLL)


@asynccontextmanager
async def _client(
    address: str, user: str | None = None, password: str | None = None
) -> AsyncIterator[AsyncMongoClient[dict[str, Any]]]:
    """A connection to this very server, whatever its replica set thinks of it."""
    from pymongo import AsyncMongoClient  # noqa: PLC0415 - slow to import; --help needs none

    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
        f"mongodb://{address}/",
        username=user,
        password=password,
        authSource="admin",
        directConnection=True,
        serverSelectionTimeoutMS=3000,
    )
    try:
        yield client
    finally:
        await client.close()
