"""What one run of the whole system goes through: stations, an operator, and a broken subscriber."""

from __future__ import annotations

import json
import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from auth.plug_and_charge.pki import Pki
from operating import Method, Operator, until
from voltbus.simulator import CallFailedError, RefusedError
from voltbus_backbone.bus.envelope import Record
from voltbus_backbone.bus.kafka import Publisher
from voltbus_backbone.contract.registry import Topic
from voltbus_backbone.settings import KafkaSettings

if TYPE_CHECKING:
    import httpx

    from system.hunting import Hunt
    from voltbus.embedded.stack import Stack
    from voltbus.simulator import Protocol, Station2, Station16, Transaction

OPEN = ("queued", "sent")
# What these answer is the secret itself, once, to whoever may have it.
TELLING = ("/credentials", "/export/readable")


class Run(Operator):
    """An operator whose every answer is kept, and who knows all secrets of the run."""

    def __init__(self, stack: Stack, client: httpx.AsyncClient, hunt: Hunt) -> None:
        super().__init__(stack, client)
        self.hunt = hunt
        self.heard: list[str] = []

    async def send(self, method: Method, service: str, path: str, **rest: Any) -> httpx.Response:
        answer = await super().send(method, service, path, **rest)
        if answer.is_error or not path.endswith(TELLING):
            self.heard.append(f"{answer.text} {answer.headers}")
        return answer

    async def station(self, station_id: str | None = None, **settings: Any) -> tuple[str, str]:
        name, password = await super().station(station_id, **settings)
        return name, self.hunt.secret("station password", password)

    def value(self, kind: str, label: str = "") -> str:
        """A random value of a type, as its readers give it."""
        made = {
            "ISO14443": secrets.token_hex(7).upper(),
            "ISO15693": secrets.token_hex(8),
            "KeyCode": str(secrets.randbelow(9 * 10**15) + 10**15),
            "eMAID": f"NLTNM{secrets.token_hex(5)[:9].upper()}",
            "MacAddress": secrets.token_hex(6).upper(),
            "Central": f"app-{secrets.token_hex(6)}",
            "Local": f"L{secrets.token_hex(6)}",
        }[kind]
        return self.hunt.secret(label or kind, made)

    async def registered(self, kind: str, **fields: Any) -> tuple[str, str]:
        """Register a token of a type; its value and reference."""
        value = self.value(kind)
        body = {"id_token": value, "type": kind, **fields}
        made = await self.done("POST", "auth", "/v1/tokens", json=body)
        return value, made["ref"]

    async def told(self, station: Station16 | Station2, action: str, payload: Any) -> None:
        """A call whose answer, also an error, is kept."""
        try:
            answer = json.dumps(await station.call(action, payload, validate=False))
        except CallFailedError as error:
            answer = f"{error} {error.args}"
        self.heard.append(answer)

    async def command(self, station: str, action: str, payload: Any) -> str:
        """Ask for a command; its id."""
        made = await self.done(
            "POST",
            "config",
            f"/v1/stations/{station}/commands",
            json={"action": action, "payload": payload},
        )
        return str(made["id"])


class Life:
    """One station of a version and what it goes through, before and after the kills."""

    def __init__(self, run: Run, protocol: Protocol) -> None:
        self.run = run
        self.protocol: Protocol = protocol
        self.name = f"PRIVATE-{protocol}"
        self.password = ""
        self.card = self.ref = ""
        self.transaction: Transaction | None = None

    async def begin(self) -> None:
        """Wrong passwords, every type of token, a session that stays open, and bad frames."""
        run = self.run
        _, self.password = await run.station(self.name)
        wrong = run.hunt.secret("wrong password", secrets.token_hex(16))
        with pytest.raises(RefusedError) as refused:
            async with run.connected(self.protocol, self.name, wrong):
                pass
        run.heard.append(f"{refused.value} {refused.value.headers}")
        self.card, self.ref = await run.registered("ISO14443")
        await run.agreement(self.ref)
        async with run.connected(self.protocol, self.name, self.password) as station:
            await station.boot()
            await station.status(1, "Available")
            await self._authorize(station)
            ended = await station.start(self.card, 1, 1000)
            await station.meter(ended, 1500)
            await station.stop(ended, 2000)
            self.transaction = await station.start(self.card, 2, 0)
            assert self.transaction.status == "Accepted"
            await self._stray_data(station)
            await self._bad_frames(station)

    async def go_on(self) -> None:
        """After the kills: commands that hold tokens, a new password, and the session's end."""
        run = self.run
        kept = self.run.value("ISO14443", "token of a cancelled command")
        waiting = await run.command(self.name, "remote_start", {"id_token": kept})
        await run.done("POST", "config", f"/v1/commands/{waiting}/cancel")
        async with run.connected(self.protocol, self.name, self.password) as station:
            await station.boot()
            assert self.transaction is not None
            await station.stop(self.transaction, 900)
            for action, payload in self._commands():
                await run.command(self.name, action, payload)
            path = f"/v1/stations/{self.name}/credentials"
            made = await run.done("PUT", "auth", path, json={"keep_previous": True})
            new = run.hunt.secret("AuthorizationKey", made["password"])
            await run.command(self.name, "set_password", {"password": new})
            await until(self._still_open, lambda found: not found, deadline_s=90)
            await run.done("DELETE", "auth", f"{path}/previous")
            await self._by_itself(station)

    async def _by_itself(self, station: Station16 | Station2) -> None:
        """What nobody asks for call by call: local lists, a rotation, a question to others."""
        run = self.run
        plan = f"/v1/local-lists/stations/{self.name}"
        await run.done("PUT", "auth", plan, json={"tokens": [self.ref]})
        path = f"/v1/stations/{self.name}"

        async def standing() -> Any:
            return await run.done("GET", "auth", f"{path}/local-list")

        await until(standing, lambda found: found["status"] == "in_sync", deadline_s=60)
        unknown = run.value("ISO14443", "asked about elsewhere")
        token = {"idToken": unknown, "type": "ISO14443"}
        body = {"idTag": unknown} if self.protocol == "1.6" else {"idToken": token}
        await run.told(station, "Authorize", body)
        begun = await run.done("POST", "auth", f"{path}/credentials/rotate", json={})

        async def state() -> Any:
            return await run.done("GET", "auth", f"/v1/rotations/{begun['id']}")

        await until(state, lambda found: found["state"] == "succeeded", deadline_s=60)
        sent = [text for text in map(str, station.received) if "Password" in text or _KEY in text]
        for password in re.findall(r"'([0-9A-Za-z]{32,64})'", sent[-1]):
            run.hunt.secret("rotated password", password)
        assert "rotated password" in run.hunt.labels

    async def _still_open(self) -> list[Any]:
        listed = [
            await self.run.done(
                "GET", "config", "/v1/commands", params={"station_id": self.name, "status": status}
            )
            for status in OPEN
        ]
        return [one["id"] for page in listed for one in page["data"]]

    async def _authorize(self, station: Station16 | Station2) -> None:
        kinds = ["ISO14443", "KeyCode", "eMAID", "MacAddress", "Central", "Local"]
        for kind in kinds if self.protocol == "1.6" else [*kinds, "ISO15693"]:
            value, _ = await self.run.registered(kind)
            assert (await station.authorize(value, kind)).status == "Accepted"
            refused, _ = await self.run.registered(kind, status="blocked")
            assert (await station.authorize(refused, kind)).status == "Blocked"
            await station.authorize(self.run.value(kind, f"unknown {kind}"), kind)
        if self.protocol != "1.6":
            value, _ = await self.run.registered("eMAID")
            chain = Pki(datetime.now(UTC)).contract(value).chain()
            lines = [line for line in chain.splitlines() if not line.startswith("-")]
            self.run.hunt.secret("contract certificate", lines[3])
            token = {"idToken": value, "type": "eMAID"}
            await self.run.told(station, "Authorize", {"idToken": token, "certificate": chain})

    async def _stray_data(self, station: Station16 | Station2) -> None:
        data = {"vendorId": "com.example", "data": self.run.value("ISO14443", "in DataTransfer")}
        await self.run.told(station, "DataTransfer", data)
        if self.protocol != "1.6":
            person = self.run.value("ISO14443", "in NotifyCustomerInformation")
            payload = {"data": person, "seqNo": 0, "requestId": 1, "generatedAt": _soon()}
            await self.run.told(station, "NotifyCustomerInformation", payload)

    async def _bad_frames(self, station: Station16 | Station2) -> None:
        """Tokens where no token belongs, in frames that are none."""
        # It begins as a name does: one that stands for a property's name is not repeated either.
        value = self.run.hunt.secret("in a bad frame", f"E{secrets.randbelow(10**13):013d}")
        inside = {"idTag": value, "idToken": {"idToken": value, "type": value}}
        frames = [
            '[2,"b1","Authorize",{"idTag":"' + value,
            f'[2,"b2","Authorize",{{"idTag":["{value}"]}}]',
            f'[2,"b3","{value}",{{}}]',
            json.dumps([2, "b4", "Authorize", {**inside, value: value}]),
            json.dumps([2, "b5", "StartTransaction", {**inside, "timestamp": value}]),
            json.dumps([2, "b6", "TransactionEvent", {**inside, "eventType": value}]),
            json.dumps([3, value, inside]),
            json.dumps([4, "b7", value, value, inside]),
            json.dumps([9, "b8", value]),
            value,
        ]
        station.set_manual(on=True)
        for frame in frames:
            await station.send_raw(frame)
        await station.send_raw('[2,"last","Heartbeat",{}]')
        while not (heard := await station.receive_raw()).startswith('[3,"last"'):
            self.run.heard.append(heard)
        station.set_manual(on=False)

    def _commands(self) -> list[tuple[str, Any]]:
        made = {name: self.run.value("ISO14443", f"in {name}") for name in _COMMANDS}
        tokens = {name: {"idToken": value, "type": "ISO14443"} for name, value in made.items()}
        common: list[tuple[str, Any]] = [
            ("remote_start", {"id_token": made["remote_start"], "type": "ISO14443", "evse_id": 1}),
            ("DataTransfer", {"vendorId": "com.example", "data": made["DataTransfer"]}),
            ("ReserveNow", {"idTag": made["bad"], "idToken": made["bad"], made["bad"]: 1}),
        ]
        if self.protocol == "1.6":
            entry = {"idTag": made["SendLocalList"], "idTagInfo": {"status": "Accepted"}}
            lists = {"listVersion": 1, "updateType": "Full", "localAuthorizationList": [entry]}
            reserve = {"connectorId": 1, "expiryDate": _soon(), "idTag": made["ReserveNow"]}
            return [
                *common,
                ("SendLocalList", lists),
                ("ReserveNow", {**reserve, "reservationId": 1}),
            ]
        entry = {"idToken": tokens["SendLocalList"], "idTokenInfo": {"status": "Accepted"}}
        lists = {"versionNumber": 1, "updateType": "Full", "localAuthorizationList": [entry]}
        asked = {"requestId": 1, "report": True, "clear": False}
        return [
            *common,
            ("SendLocalList", lists),
            ("ReserveNow", {"id": 1, "expiryDateTime": _soon(), "idToken": tokens["ReserveNow"]}),
            ("CustomerInformation", {**asked, "idToken": tokens["CustomerInformation"]}),
        ]


_COMMANDS = (
    "remote_start", "DataTransfer", "bad", "SendLocalList", "ReserveNow", "CustomerInformation",
)  # fmt: skip


_KEY = "AuthorizationKey"


def _soon() -> str:
    return (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


async def at_the_desk(run: Run) -> None:
    """Imports, exports, explanations, erasures, and bodies that are wrong in every way."""
    path = "/v1/tokens/import"
    good = [run.value("ISO14443", "imported") for _ in range(3)]
    lines = "".join(f'{{"id_token":"{value}"}}\n' for value in good)
    bad = run.value("ISO14443", "badly imported")
    lines += f'{{"id_token":"{bad}","status":"{bad}"}}\n{{"id_token":["{bad}"]}}\n{bad}\n'
    for kind, content in (
        ("application/x-ndjson", lines),
        ("text/csv", f'id_token,type\n{good[0]},x,y\n{bad},"{bad}'),
        ("text/csv", f"{bad}\n{bad}\n"),
        ("application/xml", f"<id>{bad}</id>"),
    ):
        headers = {"Content-Type": kind}
        await run.send("POST", "auth", path, content=content, headers=headers)
        params = {"all_or_nothing": "true"}
        await run.send("POST", "auth", path, content=content, headers=headers, params=params)
    await run.done("GET", "auth", "/v1/tokens")
    await run.send("GET", "auth", "/v1/tokens/export")
    wrong = run.value("ISO14443", "in a wrong body")
    bodies: list[tuple[Method, str, str, Any]] = [
        ("POST", "auth", "/v1/tokens", {"id_token": wrong, "status": wrong}),
        ("POST", "auth", "/v1/tokens", {"id_token": [wrong], "type": wrong * 3}),
        ("POST", "auth", "/v1/tokens", {"id_token": f" {wrong}", "expires_at": wrong}),
        ("POST", "auth", "/v1/tokens", wrong),
        ("POST", "auth", "/v1/tokens/search", {"id_token": {"x": wrong}}),
        ("POST", "auth", "/v1/authorizations/explain", {"id_token": wrong, "station_id": ""}),
        ("POST", "auth", "/v1/authorizations/explain", {"token_ref": wrong, "station_id": "X"}),
        ("PUT", "auth", "/v1/stations/X/credentials", {"password": wrong}),
        ("POST", "agreements", "/v1/agreements", {"tokens": [{"ref": wrong, "type": "x"}]}),
        ("POST", "config", "/v1/stations/PRIVATE-1.6/commands",
         {"action": "remote_start", "payload": {"id_token": [wrong], "evse_id": wrong}}),
        ("POST", "config", "/v1/stations/PRIVATE-1.6/commands",
         {"action": wrong.lower(), "payload": {"id_token": wrong}}),
    ]  # fmt: skip
    for method, service, where, body in bodies:
        answer = await run.send(method, service, where, json=body)
        assert answer.is_client_error, f"{where}: {answer.status_code}"
    for service in ("auth", "config", "agreements"):
        path = {"auth": "/v1/tokens", "config": "/v1/stations"}.get(service, "/v1/agreements")
        await run.send("POST", service, path, content=f'{{"id_token": "{wrong}')
        await run.send("GET", service, path, params={"status": wrong, "limit": wrong})
        headers = {"Authorization": f"Bearer {wrong}"}
        await run.send("GET", service, path, headers=headers)
    await run.done("POST", "auth", "/v1/tokens/search", json={"id_token": good[0]})
    asked = {"id_token": good[1], "station_id": "PRIVATE-1.6"}
    await run.done("POST", "auth", "/v1/authorizations/explain", json=asked)
    for page in (await run.done("GET", "auth", "/v1/tokens", params={"limit": 3}))["data"]:
        await run.done("POST", "auth", f"/v1/tokens/{page['ref']}/erase", headers={"If-Match": "*"})


async def on_the_bus(run: Run) -> None:
    """Records that nobody can read, on the topics where requests with tokens belong."""
    value = run.value("ISO14443", "in an unreadable record")
    publisher = Publisher(KafkaSettings(bootstrap=run.stack.kafka), run.stack.topic_prefix)
    await publisher.start()
    types = {
        Topic.AUTH_REQUESTS: "voltbus.auth.authorize.v1",
        Topic.AUTH_TOKEN_REQUESTS: "voltbus.auth.put-token.v1",
        Topic.CONFIG_REQUESTS: "voltbus.command.requested.v1",
        Topic.AGREEMENTS_REQUESTS: "voltbus.agreement.requested.v1",
    }
    records = []
    for topic, kind in types.items():
        for number, body in enumerate((
            f'{{"id_token": "{value}',
            json.dumps({"provider_id": "SE-NDL", "id_token": value, "status": value}),
            json.dumps({"id_token": {"value": [value]}, "station_id": 7, "action": value}),
            json.dumps(value),
            value,
        )):  # fmt: skip
            headers = [
                ("ce_specversion", b"1.0"),
                ("ce_id", f"unreadable-{topic}-{number}".encode()),
                ("ce_source", b"/test"),
                ("ce_type", kind.encode() if number else b"voltbus.nothing.v9"),
                ("ce_time", _soon().encode()),
                ("content-type", b"application/json"),
            ]
            records.append(Record(topic, b"PRIVATE-1.6", body.encode(), headers))
        records.append(Record(topic, b"PRIVATE-1.6", value.encode(), []))
    await publisher.publish(records)
    await publisher.stop()
