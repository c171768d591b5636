"""A whole stack: MongoDB and Kafka at the same time, then the topics, then the services at once.

`voltbus up` runs one in the user's home; tests and benchmarks run theirs in a temporary one:

    async with temporary_stack() as stack:
        await stack.kill("auth")
        await stack.restart("auth", environment={"VOLTBUS_LOG_LEVEL": "debug"})
"""

from __future__ import annotations

import asyncio
import json
import signal
import tempfile
import threading
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from voltbus.embedded import preflight
from voltbus.embedded.addresses import without_credentials
from voltbus.embedded.certificates import make_certificates
from voltbus.embedded.classpath import fetch_classpath
from voltbus.embedded.folders import Home, cache_folder, write_private
from voltbus.embedded.kafka import Kafka
from voltbus.embedded.keys import SCOPE, Keys, make_keys, operator_token
from voltbus.embedded.mongod import (
    ADMIN,
    REPLICA_SET,
    USERS,
    Mongod,
    check_replica_set,
    database_of,
)
from voltbus.embedded.plan import SERVERS, Plan
from voltbus.embedded.ports import LOOPBACK, Ports, free_ports
from voltbus.embedded.processes import Part, Supervisor
from voltbus.embedded.progress import Quiet, Reporter
from voltbus.embedded.quickstart import quick_start_cache
from voltbus.embedded.services import (
    SERVICES,
    TOPIC_PREFIX,
    ServiceSettings,
    service_part,
)
from voltbus.embedded.topics import make_topics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from voltbus.errors import PartCrashed


class Stack:
    """The processes of one plan. All methods belong to the event loop that started it."""

    def __init__(self, plan: Plan, reporter: Reporter | None = None) -> None:
        """Nothing is touched before `start`."""
        self.plan = plan
        self.home = Home(plan.home)
        self._reporter: Reporter = reporter or Quiet()
        self._supervisor = Supervisor()
        self._mongod: Mongod | None = None
        self._keys: Keys | None = None
        self._token = ""
        self._settings: ServiceSettings | None = None
        self._replicas: dict[str, int] = {}
        self._doors: dict[str, tuple[int, int | None]] = {}  # by part: HTTP port, OCPP port

    async def __aenter__(self) -> Self:
        """Start; what was begun is stopped again when that fails."""
        await self.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Stop everything."""
        await self.stop()

    # -- life --

    async def start(self) -> None:
        """Check the machine and the home, start everything, return when all of it is ready."""
        mongod, java = self._preflight()
        self.home.acquire()
        try:
            self._supervisor.inherited = (self.home.lock_descriptor,)
            self.plan.ports.refuse_taken(self.plan.doors)
            if self.plan.fresh:
                self.home.empty()
            self._keys = make_keys(self.home.folder("keys"))
            self._token = operator_token(self._keys)
            async with asyncio.TaskGroup() as group:
                if mongod:
                    group.create_task(self._start_mongod(mongod))
                if self.plan.mongo is not None:
                    group.create_task(check_replica_set(self.plan.mongo))
                if java:
                    group.create_task(self._start_kafka(java))
            await self._make_topics()
            await self._start_services()
            write_private(
                self.home.path / "stack.json", json.dumps(self.describe()).encode() + b"\n"
            )
        except BaseException as error:
            await self.stop()
            # One cause is what a person can act on; the others are its echo.
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            raise error from None

    async def stop(self) -> None:
        """Stop services, then servers, within 15 seconds in all, and give the home back."""
        (self.home.path / "stack.json").unlink(missing_ok=True)
        await self._supervisor.stop_all()
        self.home.release()

    async def crashed(self) -> PartCrashed:
        """Wait until a part ends by itself; those that `kill` or `stop_part` ended do not count."""
        return await self._supervisor.crashed()

    # -- single parts, by name: gateway, auth, config, agreements, kafka, mongod, gateway-2, ... --

    async def kill(self, name: str) -> None:
        """SIGKILL, as if the machine had failed; returns when the process is gone."""
        await self._supervisor.signal(name, signal.SIGKILL)

    async def stop_part(self, name: str) -> int:
        """SIGTERM, and SIGKILL after the grace period; the exit code when the process is gone."""
        return await self._supervisor.stop(name)

    async def signal(self, name: str, number: signal.Signals) -> None:
        """Any signal, such as SIGSTOP and SIGCONT for a process that hangs."""
        await self._supervisor.signal(name, number)

    async def restart(self, name: str, environment: Mapping[str, str] | None = None) -> None:
        """Start a part anew with additions to its environment (stopped first if it still runs)."""
        await self.begin_restart(name, environment)
        await self.wait_ready(name)

    async def begin_restart(self, name: str, environment: Mapping[str, str] | None = None) -> None:
        """As `restart`, without waiting for readiness."""
        await self._supervisor.stop(name)
        part = self._supervisor.part(name)
        if environment:
            part = replace(part, environment={**part.environment, **environment})
        await self._supervisor.start(part)

    async def wait_ready(self, name: str) -> None:
        """Return when the part answers that it is ready; raise PartCrashed when it ended."""
        await self._supervisor.wait_ready(name)

    async def add_replica(self, service: str, environment: Mapping[str, str] | None = None) -> str:
        """Start one more process of a service on free ports; returns its name when it is ready."""
        ports = free_ports(2)
        ocpp = ports[1] if service == "gateway" else None
        part = self._service_part(service, ports[0], ocpp)
        if environment:
            part = replace(part, environment={**part.environment, **environment})
        await self._supervisor.start(part)
        await self.wait_ready(part.name)
        return part.name

    # -- where things are --

    def pid(self, name: str) -> int:
        """The process id of a part."""
        return self._supervisor.pid(name)

    def log(self, name: str) -> Path:
        """The log file of a part."""
        return self._supervisor.part(name).log

    def http(self, name: str) -> str:
        """The HTTP address of a service's process, without a slash at its end."""
        return f"http://{LOOPBACK}:{self._doors[name][0]}"

    def ocpp(self, name: str = "gateway") -> str:
        """The address that stations append their id to: ws://host:port/ocpp."""
        port = self._doors[name][1]
        if port is None:
            raise KeyError(f"{name} has no OCPP door")
        return f"ws://{LOOPBACK}:{port}/ocpp"

    def secured(self, profile: int) -> str:
        """Likewise for security profile 2 or 3, at the first gateway; trust `authority`."""
        ports = {2: self.plan.ports.ocpp_tls, 3: self.plan.ports.ocpp_mtls}
        return f"wss://localhost:{ports[profile]}/ocpp"

    @property
    def authority(self) -> Path:
        """The certificate of the local authority (PEM), which signs stations' and the gateway's."""
        return self.home.path / "certificates" / "ca.pem"

    @property
    def kafka(self) -> str:
        """The broker's address, host:port."""
        return self.plan.kafka or f"{LOOPBACK}:{self.plan.ports.kafka}"

    @property
    def topic_prefix(self) -> str:
        """What every topic's name begins with."""
        return TOPIC_PREFIX

    def database(self, service: str) -> str:
        """The name of a service's MongoDB database."""
        return database_of(service)

    def mongo_uri(self, user: str = ADMIN) -> str:
        """The connection string of a service's user, or of the administrator."""
        if self._mongod is not None:
            return self._mongod.uri(user)
        if self.plan.mongo is None:
            raise KeyError("this stack has no MongoDB")
        return self.plan.mongo

    def operator_token(self, scope: str = SCOPE) -> str:
        """A bearer token for the services' REST routes."""
        if self._keys is None:
            raise RuntimeError("the stack was not started")
        return operator_token(self._keys, scope=scope)

    def describe(self) -> dict[str, Any]:
        """What `voltbus up --json` prints. No password is in it."""
        parts = self._supervisor.names()
        addresses = {name: self.http(name) for name in self.plan.services}
        return {
            **(self._stations_doors() if "gateway" in self.plan.services else {}),
            **addresses,
            "kafka": self.kafka if self.plan.kafka or self.plan.starts_kafka else None,
            "mongo": self._mongo_address(),
            "operator_token": self._token,
            "pids": {
                name: self.pid(name) if name in parts else None for name in (*SERVICES, *SERVERS)
            },
        }

    # -- the steps of a start --

    def _preflight(self) -> tuple[Path | None, Path | None]:
        plan = self.plan
        if plan.starts_mongod or plan.starts_kafka:
            preflight.check_machine()
        mongod = preflight.find_mongod() if plan.starts_mongod else None
        return mongod, preflight.find_java() if plan.starts_kafka else None

    async def _start_mongod(self, binary: Path) -> None:
        began = time.monotonic()
        self._reporter.note("Starting MongoDB ...")
        self._mongod = Mongod(binary, self.home, self.plan.ports)
        part = self._mongod.prepare()
        await self._supervisor.start(part)
        await self._supervisor.wait_ready(part.name)
        await self._mongod.initialise()
        self._reporter.note(f"MongoDB is ready ({time.monotonic() - began:.1f} s).")

    async def _start_kafka(self, java: Path) -> None:
        classpath = await self._classpath()
        aot_cache = await quick_start_cache(java, classpath, self._reporter)
        began = time.monotonic()
        self._reporter.note("Starting Kafka ...")
        part = await Kafka(java, classpath, self.home, self.plan.ports, aot_cache).prepare()
        await self._supervisor.start(part)
        await self._supervisor.wait_ready(part.name)
        self._reporter.note(f"Kafka is ready ({time.monotonic() - began:.1f} s).")

    async def _classpath(self) -> str:
        cancelled = threading.Event()
        try:
            return await asyncio.to_thread(
                fetch_classpath, cache_folder(), self._reporter, cancelled
            )
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def _make_topics(self) -> None:
        has_kafka = self.plan.kafka is not None or self.plan.starts_kafka
        if not (self.plan.topics and has_kafka):
            return
        await make_topics(
            self.kafka, TOPIC_PREFIX, self.plan.partitions, ours=self.plan.starts_kafka
        )

    async def _start_services(self) -> None:
        if not self.plan.services:
            return
        if self._keys is None:
            raise RuntimeError("the keys come before the services")
        began = time.monotonic()
        self._reporter.note(f"Starting {', '.join(self.plan.services)} ...")
        self._settings = ServiceSettings(
            home=self.home,
            keys=self._keys,
            certificates=make_certificates(self.home.folder("certificates")),
            kafka=self.kafka,
            mongo={name: self.mongo_uri(name) for name in USERS if self._has_mongo()},
            own_kafka=self.plan.starts_kafka,
            commands=self.plan.commands,
            environment=self.plan.environment,
        )
        for service in self.plan.services:
            http = getattr(self.plan.ports, service)
            ocpp = self.plan.ports.ocpp if service == "gateway" else None
            await self._supervisor.start(self._service_part(service, http, ocpp))
        async with asyncio.TaskGroup() as group:
            for service in self.plan.services:
                group.create_task(self._supervisor.wait_ready(service))
        self._reporter.note(f"The services are ready ({time.monotonic() - began:.1f} s).")

    def _service_part(self, service: str, http: int, ocpp: int | None) -> Part:
        if self._settings is None:
            raise RuntimeError("the stack was started without services")
        number = self._replicas[service] = self._replicas.get(service, 0) + 1
        first = service == "gateway" and number == 1
        ports = self.plan.ports
        part = service_part(
            self._settings,
            service,
            number,
            http_port=http,
            ocpp_port=ocpp,
            tls_ports=(ports.ocpp_tls, ports.ocpp_mtls) if first else None,
        )
        self._doors[part.name] = (http, ocpp)
        return part

    def _has_mongo(self) -> bool:
        return self._mongod is not None or self.plan.mongo is not None

    def _stations_doors(self) -> dict[str, str]:
        return {
            "ocpp": self.ocpp(),
            "ocpp_tls": self.secured(2),
            "ocpp_mtls": self.secured(3),
            "authority": str(self.authority),
        }

    def _mongo_address(self) -> str | None:
        """Where MongoDB is, without user and password."""
        if self.plan.mongo is not None:
            return without_credentials(self.plan.mongo)
        if self.plan.starts_mongod:
            return f"mongodb://{LOOPBACK}:{self.plan.ports.mongod}/?replicaSet={REPLICA_SET}"
        return None


@asynccontextmanager
async def temporary_stack(
    services: Sequence[str] = SERVICES, **choices: Any
) -> AsyncIterator[Stack]:
    """A stack on free ports in a folder that is removed at the end; choices are those of `Plan`."""
    with tempfile.TemporaryDirectory(prefix="voltbus-", ignore_cleanup_errors=True) as folder:
        ports = choices.pop("ports", None) or Ports.free()
        plan = Plan(home=Path(folder), ports=ports, services=services, **choices)
        async with Stack(plan) as stack:
            yield stack
