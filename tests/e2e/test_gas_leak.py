"""A gas leak to its end on the whole system, as a city platform hears of it: with everybody there, with the meter's
gateway away, and with nobody there to approve the siren. Asserted by what follows from what, never by how long it took.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any
from uuid import UUID

import httpx
import pytest

from bench.gas_leak import alarm, ask_siren, missing, raised, shut, whole, work_off
from bench.gas_town import Town, town
from bench.servers import BenchServers
from services.domain.registry import GATEWAY_KIND
from tests.conftest import Mqtt, Servers
from tests.ingest_kit import until

LIFE = "8s"
"""How long the plan's commands live here: long enough for a device that is there."""


@pytest.fixture
def there(servers: Servers, mqtt: Mqtt) -> BenchServers:
    return BenchServers(
        servers.database_url,
        mqtt.account_url("svc-ingest"),
        mqtt.url,
        f"mqtt://{mqtt.host}:{mqtt.device_port}",
        mqtt.admit,
        servers.stack,
        mqtt.account_url("svc-alerts"),
    )


def _soon(text: str) -> str:
    assert "timeout: 60s" in text
    return text.replace("timeout: 60s", f"timeout: {LIFE}")


async def told(it: Town, template: str, who: str, **like: str) -> str:
    """The Chinese words (or the reason) of a notice of this template to this person, once there is one."""

    async def there() -> str | None:
        found: str | None = await it.database.fetchval(
            "SELECT coalesce(params->'text'->>'zh', params->>'why', '-') FROM notice "
            "WHERE community_id = $1 AND template = $2 AND recipient = (SELECT 'account:' || id FROM app_user "
            "WHERE username = $3) AND coalesce(params->'text'->>'zh', params->>'why', '') LIKE $4 LIMIT 1",
            it.community.id, template, f"{it.community.id}-{who}", f"%{like.get('says', '')}%",
        )  # fmt: skip
        return found

    return str(await until(there, 60))


async def command(it: Town, number: str) -> Any:
    return await it.database.fetchrow(
        "SELECT c.*, asked.username AS asker, second.username AS second FROM command c "
        "LEFT JOIN app_user asked ON asked.id = c.requested_by LEFT JOIN app_user second ON second.id = c.approved_by "
        "WHERE c.id = $1",
        UUID(number),
    )


def types(it: Town, **data: object) -> list[str]:
    """What the city heard of it, in the order in which it came."""
    return [
        one.type.removeprefix("cn.linhub.").removesuffix(".v1")
        for one in it.city.events
        if data.items() <= one.data.items()
    ]


async def city_has_everything(it: Town) -> None:
    assert await missing(it) == []
    assert it.city.refused == [], "every request was verified by standardwebhooks and read by cloudevents"
    heard = [one.seq for one in it.city.events]
    assert heard == sorted(set(heard)), "in order, each once"


async def test_gas_leak_from_the_alarm_to_the_closed_order_as_a_city_verifies_it(there: BenchServers) -> None:
    async with town(there, 1) as it:
        (flat,) = it.flats
        leak = await whole(it, flat)
        await city_has_everything(it)
        chain = [leak.told[name] for name in ("alert", "asked", "executed", "confirmed")]
        assert [one.seq for one in chain] == sorted(one.seq for one in chain), "each is told after what it follows from"
        assert leak.told["dispatched"].seq > leak.told["alert"].seq
        # Whether the broker has it, and whether the siren says so before it reports that it sounds, may be overtaken.
        valve_heard, siren_heard = types(it, command_id=leak.valve), types(it, command_id=leak.siren)
        assert [one for one in valve_heard if one != "command.sent"] == [
            "command.requested", "command.executed", "command.confirmed",
        ]  # fmt: skip
        assert [one for one in siren_heard if one not in ("command.sent", "command.executed")] == [
            "command.requested", "command.queued", "command.confirmed",
        ]  # fmt: skip
        moves = [one.removeprefix("order.") for one in types(it, order_id=leak.order_id)]
        assert moves[0] == "create" and moves[1] == "dispatch" and moves[-1] == "close"
        assert [one for one in moves if one in ("accept", "arrive", "resolve", "verify")] == [
            "accept", "arrive", "resolve", "verify",
        ]  # fmt: skip
        plan = types(it, run_id=leak.run)
        assert plan[0] == "plan.started" and plan.count("plan.started") == 1

        valve, asked = await command(it, leak.valve), await command(it, leak.siren)
        assert (valve["state"], valve["moved_by"]) == ("confirmed", "telemetry"), "its own reading shows it shut"
        meter = it.device("gas_meter", flat)
        life = next(one for one in it.fleet.station_of(meter).lives if one.device.id == meter)
        assert life.forced["valve"] == 1.0
        home = it.community.id
        assert (asked["asker"], asked["second"], asked["emergency"]) == (f"{home}-desk", f"{home}-admin", False)
        assert await told(it, "approve", "admin", says="等待您批准")
        for who in ("patrol1", "patrol2"):
            assert await told(it, "dispatch", who)


async def test_gas_leak_with_the_valve_out_of_reach_says_so_everywhere_and_shuts_nothing_afterwards(
    there: BenchServers,
) -> None:
    async with town(there, 1, plan=_soon) as it:
        (flat,) = it.flats
        meter = it.device("gas_meter", flat)
        gateway = next(one.id for one in it.community.devices if one.kind == GATEWAY_KIND)
        station = it.fleet.stations[gateway]
        life = next(one for one in station.lives if one.device.id == meter)
        station.uplink.away_until = math.inf
        station.uplink.cut()
        await it.city.heard("device.offline", device_id=gateway)

        leak = alarm(it, flat)
        await raised(it, leak)
        await it.city.heard("command.expired", command_id=leak.valve)
        assert types(it, command_id=leak.valve) == ["command.requested", "command.sent", "command.expired"]
        await it.city.heard("plan.step", run_id=leak.run, step="valve_at_meter", state="timed_out")
        noted = await it.city.heard("order.note", order_id=leak.order_id)
        assert await told(it, "plan", "desk", says="valve_at_meter 超时")
        assert meter in await told(it, "caution", "patrol1", says="未证实")
        order = (await it.people["patrol1"].get(f"/orders/{leak.order_id}")).json()
        (line,) = [one for one in order["history"] if one["version"] == noted.data["version"]]
        words = line["detail"]["note"]
        assert "关阀未证实" in words and "NOT confirmed" in words and f"{meter} 已过期" in words

        await asyncio.sleep(2)  # the broker counts in whole seconds what it still hands over
        station.uplink.away_until = 0.0
        await it.city.heard("device.online", device_id=gateway)
        # The broker hands over in order: what waited there would be carried out before what is asked for now.
        body = {"device_id": meter, "name": "valve_close", "why": "网关恢复，重新关阀"}
        again = await it.said("desk", f"/communities/{it.community.id}/commands", body)
        assert "valve" not in life.forced, "what expired was not carried out when the gateway came back"
        await it.said("admin", f"/commands/{again['id']}/approve", {})
        await it.city.heard("command.confirmed", command_id=again["id"])
        assert life.forced["valve"] == 1.0
        stale = await command(it, leak.valve)
        assert stale["state"] == "expired" and 1 <= stale["sends"] <= 12
        assert await it.database.fetchval("SELECT count(*) FROM command_stray") == 0
        begun = station.uplink._obeyed
        assert begun.answer(gateway, again["id"]) == (True, "done") and begun.answer(gateway, leak.valve) is None
        await work_off(it, leak)
        await city_has_everything(it)


async def test_gas_leak_with_nobody_to_approve_sounds_nothing_and_an_emergency_is_reviewed_afterwards(
    there: BenchServers,
) -> None:
    async with town(there, 1) as it:
        (flat,) = it.flats
        siren = it.device("siren")
        leak = alarm(it, flat)
        await raised(it, leak)
        await shut(it, leak)
        assert (await ask_siren(it, leak))["state"] == "awaiting"
        absent, own = leak.siren, await it.post("desk", f"/commands/{leak.siren}/approve", {})
        assert own.status_code == httpx.codes.FORBIDDEN
        assert await told(it, "approve", "admin", says=siren)
        await _time_passes(it, absent)
        await it.city.heard("command.expired", command_id=absent)
        assert types(it, command_id=absent) == ["command.requested", "command.expired"]
        what = await told(it, "command", "desk", says="无人批准")
        assert "找到第二人" in what and "紧急越权" in what, "the desk is told what to do"
        late = await it.post("admin", f"/commands/{absent}/approve", {})
        assert late.status_code == httpx.codes.CONFLICT
        assert (await command(it, absent))["sends"] == 0 and await _played(it, siren) == []

        sent = await ask_siren(it, leak, emergency=True, why="泄漏持续，无人可批")
        assert sent["state"] == "queued" and sent["emergency"]
        await it.city.heard("command.confirmed", command_id=leak.siren)
        assert await _played(it, siren) == [leak.siren]
        assert await told(it, "review", "admin", says="复核")
        path, verdict = f"/commands/{leak.siren}/review", {"verdict": "justified", "note": "现场属实"}
        assert (await it.post("desk", path, verdict)).status_code == httpx.codes.FORBIDDEN
        waiting = f"/communities/{it.community.id}/commands"
        listed = (await it.people["admin"].get(waiting, params={"to_review": True})).json()["items"]
        assert [one["id"] for one in listed] == [leak.siren]
        await it.said("admin", path, verdict)
        row = await command(it, leak.siren)
        assert (row["emergency"], row["verdict"], row["approved_by"]) == (True, "justified", None)
        actions = await it.database.fetch(
            "SELECT action FROM audit WHERE subject = $1 ORDER BY id", f"command:{row['id']}"
        )
        assert [one["action"] for one in actions] == ["command.emergency", "command.review"]
        await work_off(it, leak)
        await city_has_everything(it)


async def _time_passes(it: Town, number: str) -> None:
    """Nobody has ten minutes: it was asked for an hour ago."""
    await it.database.execute(
        "UPDATE command SET requested_at = now() - interval '1 h', expires_at = now() - interval '1 s' WHERE id = $1",
        UUID(number),
    )


async def _played(it: Town, siren: str) -> list[str]:
    """Ids of the commands by which this siren says that it sounded."""
    rows = await it.database.fetch(
        "SELECT e.data->>'command' AS number FROM device_event e JOIN device d USING (device_no) "
        "WHERE d.id = $1 AND e.event = 'played'",
        siren,
    )
    return [row["number"] for row in rows]
