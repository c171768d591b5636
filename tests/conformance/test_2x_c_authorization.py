"""C Authorization: decisions, cache, groups, master pass, prepaid cards (OCPP 2.x)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from conformance.acting import carried_out, every_2x, transactions
from conformance.by_hand import by_hand
from operating import NEVER, until

if TYPE_CHECKING:
    from conformance.acting import Ready
    from operating import Operator
    from voltbus.simulator import Protocol, Station2, Station16

pytestmark = pytest.mark.stack

PAST = "2020-01-01T00:00:00Z"


# ---- decisions about a token (C01) ----


@every_2x
async def test_c01_fr_06_an_accepted_token(ready: Ready, protocol: Protocol) -> None:
    """C01.FR.06/19: Accepted, without an evseId list where it may charge everywhere."""
    token, _ = await ready.operator.token()
    async with ready(protocol) as station:
        info = (await station.authorize(token)).answer["idTokenInfo"]
        assert info["status"] == "Accepted"
        assert "evseId" not in info


@every_2x
@pytest.mark.parametrize(
    ("fields", "status"),
    [
        pytest.param(None, "Unknown", id="tc_c_02"),
        pytest.param({"status": "blocked"}, "Blocked", id="tc_c_06"),
        pytest.param({"expires_at": PAST}, "Expired", id="tc_c_07"),
        pytest.param({"valid_from": "2999-01-01T00:00:00Z"}, "NotAtThisTime", id="not_yet"),
        pytest.param({"sites": ["elsewhere"]}, "NotAtThisLocation", id="c01_fr_22_elsewhere"),
    ],
)
async def test_a_token_that_may_not_charge(
    ready: Ready, protocol: Protocol, fields: dict[str, Any] | None, status: str
) -> None:
    """C01.FR.06: Authorize and the start of a transaction say the same of a refused token."""
    token = "NOBODY-KNOWS-ME"
    if fields is not None:
        token, _ = await ready.operator.token(**fields)
    async with ready(protocol) as station:
        assert (await station.authorize(token)).status == status
        transaction = await station.start(token)
        assert transaction.status == status


@every_2x
async def test_c01_fr_18_20_only_some_kinds_of_evse(operator: Operator, protocol: Protocol) -> None:
    """C01.FR.18/20: a subset of the EVSEs is listed; none of the right kind is NotAllowedType."""
    some, _ = await operator.token(evse_kinds=["dc"])
    none, _ = await operator.token(evse_kinds=["hpc"])
    name, password = await operator.station(evse_kinds={"1": "ac", "2": "dc"})
    async with operator.connected(protocol, name, password) as station:
        await station.boot()

        async def evses() -> Any:
            return (await station.authorize(some)).answer["idTokenInfo"].get("evseId")

        await until(evses, lambda found: found == [2])
        assert (await station.authorize(none)).status == "NotAllowedTypeEVSE"


@every_2x
async def test_c01_fr_25_case(operator: Operator, ready: Ready, protocol: Protocol) -> None:
    """C01.FR.25: tokens are the same when value, whatever its case, and type are."""
    token, _ = await operator.token()
    async with ready(protocol) as station:
        assert (await station.authorize(token.lower())).status == "Accepted"
        assert (await station.authorize(token, "KeyCode")).status == "Unknown"


@every_2x
async def test_c02_no_authorization(ready: Ready, protocol: Protocol) -> None:
    """C02.FR.02: a transaction without authorization is Accepted."""
    async with ready(protocol) as station:
        transaction = await station.start("", token_type="NoAuthorization")
        assert transaction.status == "Accepted"
        await station.stop(transaction, 100)


@every_2x
async def test_c04_key_code(operator: Operator, ready: Ready, protocol: Protocol) -> None:
    """C04.FR.02: a key code is accepted as such, and another one is not."""
    await operator.token(id_token=f"4711{protocol}", type="KeyCode")
    async with ready(protocol) as station:
        assert (await station.authorize(f"4711{protocol}", "KeyCode")).status == "Accepted"
        assert (await station.authorize("0815", "KeyCode")).status == "Unknown"


@every_2x
async def test_closed_hours(operator: Operator, ready: Ready, protocol: Protocol) -> None:
    """Rules B: outside the opening hours a token gets NotAtThisTime."""
    token, _ = await operator.token()
    async with ready(protocol) as station:
        hours = {"timezone": "Europe/Stockholm", "weekly": NEVER}
        path = f"/v1/stations/{station.station_id}/settings"
        await operator.done("PUT", "config", path, json={"opening_hours": hours})

        async def status() -> str:
            return (await station.authorize(token)).status

        await until(status, lambda found: found == "NotAtThisTime")


# ---- the station's cache (C10-C12) ----


@every_2x
@pytest.mark.parametrize(
    ("known", "status"),
    [pytest.param(True, "Accepted", id="tc_c_08"), pytest.param(False, "Unknown", id="tc_c_20")],
)
async def test_a_cached_token_is_verified_again(
    operator: Operator,
    ready: Ready,
    protocol: Protocol,
    known: bool,  # noqa: FBT001 - a row of the table
    status: str,
) -> None:
    """C12.FR.03, E01.FR.11: a start without Authorize is answered with what holds now."""
    token = (await operator.token())[0] if known else "CACHED-LONG-AGO"
    async with ready(protocol) as station:
        transaction = await station.start(token)
        assert transaction.answer["idTokenInfo"]["status"] == status
        (record,) = await transactions(operator, station.station_id)
        assert record["authorization"] == status


@every_2x
@pytest.mark.parametrize(
    "status", [pytest.param("Accepted", id="tc_c_37"), pytest.param("Rejected", id="tc_c_38")]
)
async def test_clear_cache(
    operator: Operator, ready: Ready, protocol: Protocol, status: str
) -> None:
    """C11.FR.01: the cache is cleared by order; Accepted and Rejected are the station's words."""
    async with ready(protocol) as station:
        station.answers["ClearCache"] = lambda _: {"status": status}
        found = await carried_out(operator, station.station_id, "clear_cache")
        assert (found["status"], found["answer_status"]) == ("answered", status)


# ---- groups and the master pass (C09, C16) ----


@every_2x
async def test_tc_c_39_stop_with_a_token_of_the_group(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """C09.FR.11/12/13: both tokens carry the group, of type Central; one stops the other's."""
    group = f"FAMILY-{protocol}"
    first, _ = await operator.token(group_id=group)
    second, _ = await operator.token(group_id=group)
    async with ready(protocol) as station:
        transaction = await station.start(first)
        expected = {"idToken": group, "type": "Central"}
        assert transaction.answer["idTokenInfo"]["groupIdToken"] == expected
        found = (await station.authorize(second)).answer["idTokenInfo"]
        assert (found["status"], found["groupIdToken"]) == ("Accepted", expected)
        transaction.id_token = second
        await station.stop(transaction, 100)
        assert transaction.answer["idTokenInfo"]["groupIdToken"] == expected
        (record,) = await transactions(operator, station.station_id)
        assert record["state"] == "ended"


async def planned(
    operator: Operator, station: Station16 | Station2, *refs: str, **fields: Any
) -> dict[str, Any]:
    """Plan these tokens for the station's local list; the infos on it once they are there."""
    path = f"/v1/local-lists/stations/{station.station_id}"
    await operator.done("PUT", "auth", path, json={"tokens": list(refs), **fields})
    await until(
        lambda: operator.done("GET", "auth", f"/v1/stations/{station.station_id}/local-list"),
        lambda found: found["status"] == "in_sync" and found["entries"] == sorted(refs),
    )
    return station.local_list.entries


@every_2x
async def test_tc_c_40_group_on_the_local_list(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """C09, D01: two tokens with one group are on the list, and each may stop the other's."""
    first, first_ref = await operator.token(group_id="FLEET")
    second, second_ref = await operator.token(group_id="FLEET")
    async with ready(protocol) as station:
        entries = await planned(operator, station, first_ref, second_ref)
        group = {"idToken": "FLEET", "type": "Central"}
        assert [info["groupIdToken"] for info in entries.values()] == [group, group]
        transaction = await station.start(first)
        transaction.id_token = second
        await station.stop(transaction, 100)
        assert transaction.status == "Accepted"


@every_2x
async def test_tc_c_43_invalid_token_of_the_group_on_the_local_list(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """C09, D01: a refused token is listed as refused although its group is on the list."""
    first, first_ref = await operator.token(group_id="FLEET")
    second, second_ref = await operator.token(group_id="FLEET", status="blocked")
    async with ready(protocol) as station:
        entries = await planned(operator, station, first_ref, second_ref, blocked="list")
        assert entries[f"ISO14443:{first.lower()}"]["status"] == "Accepted"
        assert entries[f"ISO14443:{second.lower()}"]["status"] == "Blocked"
        await station.start(first)
        assert (await station.authorize(second)).status == "Blocked"


@every_2x
@pytest.mark.parametrize(
    "stopped",
    [
        pytest.param([1, 2], id="tc_c_47_tc_c_49_all"),
        pytest.param([2], id="tc_c_48_one"),
    ],
)
async def test_master_pass(
    operator: Operator, ready: Ready, protocol: Protocol, stopped: list[int]
) -> None:
    """C16.FR.01/02: a master pass is Accepted with its group, and ends what its holder chose."""
    group = "MASTERPASS"
    master, _ = await operator.token(group_id=group)
    async with ready(protocol) as station:
        running = {}
        for evse in (1, 2):
            token, _ = await operator.token()
            running[evse] = await station.start(token, evse)
        info = (await station.authorize(master)).answer["idTokenInfo"]
        assert (info["status"], info["groupIdToken"]["idToken"]) == ("Accepted", group)
        for evse in stopped:
            running[evse].id_token = master
            event = {
                "eventType": "Ended",
                "timestamp": station.now(),
                "triggerReason": "StopAuthorized",
                "seqNo": 1,
                "transactionInfo": {
                    "transactionId": running[evse].id,
                    "stoppedReason": "MasterPass",
                },
                "idToken": {"idToken": master, "type": "ISO14443"},
            }
            answer = await station.call("TransactionEvent", event)
            assert answer["idTokenInfo"]["groupIdToken"]["idToken"] == group
        records = await transactions(operator, station.station_id)
        ended = {one["evse_id"]: one["stopped_reason"] for one in records if one["ended_at"]}
        assert ended == dict.fromkeys(stopped, "MasterPass")


# ---- prepaid cards (C17, 2.1) ----


@pytest.mark.parametrize(
    ("cap", "status"),
    [
        pytest.param(1_000_000, "Accepted", id="tc_c_103"),
        pytest.param(1, "NoCredit", id="tc_c_104"),
    ],
)
async def test_a_limited_contract(operator: Operator, ready: Ready, cap: int, status: str) -> None:
    """C17.FR.01/02: as long as something is left the card is Accepted, then it is NoCredit."""
    token, ref = await operator.token()
    await operator.agreement(ref, limits={"energy_cap_wh": cap}, charging_priority=5)
    async with ready("2.1") as station:

        async def priority() -> Any:
            return (await station.authorize(token)).answer["idTokenInfo"].get("chargingPriority")

        await until(priority, lambda found: found == 5)  # auth knows the agreement

        async def decided() -> str:
            return (await station.authorize(token)).status

        transaction = await station.start(token, 1, 0)
        await station.stop(transaction, 900)
        await until(decided, lambda found: found == status)


# ---- privacy ----


@every_2x
async def test_an_error_never_quotes_a_token(operator: Operator, protocol: Protocol) -> None:
    """C04.FR.04: what is wrong with a token is told by its place, never by its value."""
    async with by_hand(operator, protocol) as raw:
        wrong = {"idToken": {"idToken": "SECRET" * 60, "type": "ISO14443"}}
        answer = await raw.call("Authorize", wrong)
        assert answer[2] == "PropertyConstraintViolation"
        assert "SECRET" not in str(answer)
