"""Rules edited through the API: who may, by version, refused with lines, and in force on a running engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from services.adapters.postgres import open_pool
from services.adapters.rules import load_defaults, load_rulebook, load_rules
from services.adapters.rules import store as rule_store
from services.api import main as api_main
from services.api.rules import proofs
from services.domain.ids import DeviceNo, RuleId
from services.domain.rules.writing import write_rule
from tests.api_server import api_server, client
from tests.integration.alerts_support import COMMUNITY, PARTITION, World, engine, now_ms, until
from tests.said import lasting

RULES = f"/communities/{COMMUNITY}/rules"
YAML = {"Content-Type": "text/yaml"}
BURST = next(rule for rule in load_defaults()["water_meter"] if rule.id == "water_meter.burst")
TEXT = write_rule("water_meter", BURST).replace("version: 1\n", "# 按本小区的表\n")
METER = "water_meter-1"


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    pool = await open_pool(database_url, name="test", max_size=4)
    world = World(database_url, pool)
    await world.prepare()
    try:
        yield world
    finally:
        await pool.close()


@pytest.fixture(autouse=True)
def unestimated(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an edit is likely to raise takes a process of its own, seconds of a processor each time."""

    async def unknown(*_: Any) -> None:
        return None

    monkeypatch.setattr(api_main, "history_estimate", unknown)


@asynccontextmanager
async def desk_and_admin(world: World) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    async with api_server(world.url) as url, client(url, "desk") as desk, client(url, "admin") as admin:
        yield desk, admin


def seen(version: int) -> dict[str, str]:
    return {**YAML, "If-Match": f'"{version}"'}


async def put(http: httpx.AsyncClient, text: str, version: int, rule: str = BURST.id, **query: Any) -> httpx.Response:
    return await http.put(f"{RULES}/{rule}", content=text, headers=seen(version), params=query)


async def test_rules_are_listed_read_edited_compared_and_put_back(world: World) -> None:
    async with desk_and_admin(world) as (desk, _):
        items = (await desk.get(RULES)).json()["items"]
        assert [item["id"] for item in items] == [rule.id for rules in load_defaults().values() for rule in rules]
        assert {item["origin"] for item in items} == {"default"}
        assert {item["kind"] for item in (await desk.get(RULES, params={"kind": "gate"})).json()["items"]} == {"gate"}

        before = await desk.get(f"{RULES}/{BURST.id}")
        assert before.headers["ETag"] == '"1"'
        assert before.json()["document"] == write_rule("water_meter", BURST)

        changed = TEXT.replace("limit: 3.125", "limit: 2.5")
        done = await put(desk, changed, 1, note="老旧小区水压低")
        assert (done.status_code, done.headers["ETag"]) == (200, '"2"'), done.text
        assert done.json()["rule"]["version"] == 2
        assert done.json()["in_force"]["engine"] is False
        after = (await desk.get(f"{RULES}/{BURST.id}")).json()
        assert (after["document"], after["origin"]) == (changed, "own"), "as it was written, comments and all"
        assert [(one["version"], one["by"], one["note"]) for one in after["history"]] == [
            (2, "user-desk", "老旧小区水压低")
        ]
        text = (await desk.get(f"{RULES}/{BURST.id}/diff", params={"from": 1, "to": 2})).text
        assert '-  threshold: {metric: flow, compare: ">=", limit: 3.125' in text
        assert '+  threshold: {metric: flow, compare: ">=", limit: 2.5' in text

        plain = after["plain"]
        plain["severity"] = "critical"
        as_json = await desk.put(f"{RULES}/{BURST.id}", json=plain, headers={"If-Match": '"2"'})
        assert as_json.status_code == 200, as_json.text
        assert as_json.json()["rule"]["severity"] == "critical"

        gone = await desk.delete(f"{RULES}/{BURST.id}", headers=seen(3))
        assert (gone.status_code, gone.json()["rule"]["origin"], gone.json()["rule"]["version"]) == (200, "default", 4)
        again = (await desk.get(f"{RULES}/{BURST.id}")).json()
        assert [one["mode"] for one in again["history"]] == ["removed", "live", "live"]
        assert (await desk.delete(f"{RULES}/{BURST.id}", headers=seen(4))).status_code == 409
        assert (await put(desk, TEXT, 4)).json()["rule"]["version"] == 5

    assert await world.outbox() == ["rule.changed"] * 4
    audit = [
        row["action"]
        for row in await world.pool.fetch("SELECT action FROM audit WHERE action <> 'session.open' ORDER BY id")
    ]
    assert [action for action in audit if action.startswith("rule.")] == [
        "rule.put", "rule.put", "rule.removed", "rule.put",
    ]  # fmt: skip


async def test_rules_of_a_community_are_edited_by_one_at_a_time(world: World) -> None:
    async with desk_and_admin(world) as (desk, admin):
        assert (await desk.put(f"{RULES}/{BURST.id}", content=TEXT, headers=YAML)).status_code == 428
        assert (await put(desk, TEXT, 7)).status_code == 412
        both = await asyncio.gather(put(desk, TEXT, 1), put(admin, TEXT.replace("major", "minor"), 1))
        assert sorted(one.status_code for one in both) == [200, 412]
        refused = next(one for one in both if one.status_code == 412)
        assert refused.headers["ETag"] == '"2"'
        current = (await desk.get(f"{RULES}/{BURST.id}")).json()
        assert refused.json()["errors"] == [{"version": 2, "document": current["document"]}]
    assert await world.pool.fetchval("SELECT count(*) FROM rule_version") == 1


async def test_a_wrong_rule_is_refused_with_its_lines_and_the_old_one_stays(world: World) -> None:
    wrong = TEXT.replace("metric: flow", "metric: flwo").replace("severity: major", "severity: grave")
    async with desk_and_admin(world) as (desk, _):
        refused = await put(desk, wrong, 1)
        assert refused.status_code == 422
        assert [(one["line"], one["where"]) for one in refused.json()["errors"]] == [
            (5, "severity"), (9, "when.threshold.metric"),
        ]  # fmt: skip
        assert "did you mean flow?" in refused.json()["errors"][1]["en"]
        assert "第 5 行" in refused.json()["detail"]
        checked = await desk.post(f"{RULES}/validate", content=wrong, headers=YAML)
        assert (checked.status_code, checked.json()["ok"], len(checked.json()["faults"])) == (200, False, 2)
        good = await desk.post(f"{RULES}/validate", content=TEXT, headers=YAML)
        assert good.json() == {"ok": True, "kind": "water_meter", "rules": [BURST.id], "faults": []}
        for body, headers, status in (
            (b"\xff", seen(1), 400),
            (b"{", {**seen(1), "Content-Type": "application/json"}, 400),
            (b'{"limit": NaN}', {**seen(1), "Content-Type": "application/json"}, 400),
            (TEXT.encode(), {**seen(1), "Content-Type": "text/plain"}, 415),
            (TEXT.replace(BURST.id, "water_meter.other").encode(), seen(1), 422),
            (TEXT.replace("severity", "version: 9\nseverity").encode(), seen(1), 422),
        ):
            answer = await desk.put(f"{RULES}/{BURST.id}", content=body, headers=headers)
            assert answer.status_code == status, (body, answer.text)
            assert answer.headers["Content-Type"] == "application/problem+json"
    assert await world.pool.fetchval("SELECT count(*) FROM rule_version") == 0
    assert (await load_rulebook(world.pool, [PARTITION])).of_kind(COMMUNITY, "water_meter")[0] == BURST


async def test_life_safety_rules_are_the_administrators_and_hard_to_switch_off(world: World) -> None:
    alarm = next(rule for rule in load_defaults()["smoke_detector"] if rule.id == "smoke_detector.alarm")
    text = write_rule("smoke_detector", alarm).replace("version: 1\n", "")
    off = text + "mode: off\n"
    async with desk_and_admin(world) as (desk, admin):
        assert (await put(desk, text, 1, alarm.id)).status_code == 403
        assert (await put(admin, off, 1, alarm.id)).status_code == 409
        assert (await put(admin, off, 1, alarm.id, force=True)).status_code == 409, "a reason is missing"
        ordinary = text.replace("life_safety: true\n", "")
        assert (await put(admin, ordinary, 1, alarm.id)).status_code == 409
        assert (await put(admin, off, 1, alarm.id, force=True, note="消防检修")).status_code == 200
        assert (await put(desk, text, 2, alarm.id)).status_code == 403
        assert (await admin.delete(f"{RULES}/{alarm.id}", headers=seen(2))).status_code == 200
        override = f"/devices/{COMMUNITY}-gas_alarm-1/rules/gas_alarm.lel_high/override"
        body = {"parameters": {"limit": 20}}
        assert (await desk.put(override, json=body, headers={"If-Match": '"0"'})).status_code == 403
        assert (await admin.put(override, json=body, headers={"If-Match": '"0"'})).status_code == 200


OWN = """kind: water_meter
id: water_meter.slow_leak
title: {zh: 夜间细流, en: Trickle by night}
severity: minor
team: maintenance
when:
  threshold: {metric: flow, compare: ">=", limit: 0.01, for: 2h}
"""


async def test_a_new_rule_is_put_and_goes_without_a_trace_in_force(world: World) -> None:
    path = f"{RULES}/water_meter.slow_leak"
    async with desk_and_admin(world) as (desk, _):
        assert (await desk.get(path)).status_code == 404
        assert (await desk.put(path, content=OWN, headers=seen(3))).status_code == 412
        made = await desk.put(path, content=OWN, headers={**YAML, "If-None-Match": "*"})
        assert made.json()["rule"]["version"] == 1
        assert (await desk.put(path, content=OWN, headers={**YAML, "If-None-Match": "*"})).status_code == 412
        gone = await desk.delete(path, headers=seen(1))
        assert gone.json()["rule"] is None
        assert (await desk.get(path)).status_code == 404
        assert (await desk.put(path, content=OWN, headers={**YAML, "If-None-Match": "*"})).json()["rule"][
            "version"
        ] == 3
        spying = OWN.replace("water_meter", "wristband").replace("flow", "heart_rate").replace("0.01", "120")
        low = spying.replace("wristband.slow_leak", "wristband.low_battery")
        refused = await desk.put(f"{RULES}/wristband.low_battery", content=low, headers=seen(1))
        assert refused.status_code == 422
        assert "not about health" in refused.json()["detail"]


async def test_what_is_set_for_a_person_is_health_data(world: World) -> None:
    rule = "wristband.heart_rate_high"
    path = f"/people/{COMMUNITY}-p1/rules/{rule}/override"
    async with api_server(world.url) as url, client(url, "desk") as desk, client(url, "street") as street:
        assert (await desk.get(path)).headers["ETag"] == '"0"'
        wrong = await desk.put(path, json={"parameters": {"limit": 999}}, headers={"If-Match": '"0"'})
        assert (wrong.status_code, wrong.json()["errors"][0]["where"]) == (422, "parameters.limit")
        done = await desk.put(path, json={"parameters": {"limit": 123}, "note": "运动员"}, headers={"If-Match": '"0"'})
        assert done.status_code == 200, done.text
        stale = await desk.put(path, json={"parameters": None}, headers={"If-Match": '"0"'})
        assert (stale.status_code, stale.headers["ETag"]) == (412, '"1"')
        assert (await desk.get(f"{RULES}/{rule}")).json()["set_for"][0]["parameters"] == {"limit": 123}
        assert (await street.get(f"{RULES}/{rule}")).json()["set_for"] == []
        assert (await street.get(path)).status_code == 403
        device = f"/devices/{COMMUNITY}-water_meter-1/rules/{rule}/override"
        assert (await desk.put(device, json={"parameters": None}, headers={"If-Match": '"0"'})).status_code == 422
    book = await load_rulebook(world.pool, [PARTITION])
    assert book.overrides == {f"person:{COMMUNITY}-p1": {rule: {"limit": 123.0}}}
    log = await world.pool.fetch(
        "SELECT action, detail FROM audit WHERE action LIKE 'rule.%' OR action = 'health.read'"
    )
    assert {row["action"] for row in log} == {"rule.override", "health.read"}
    assert not any("123" in lasting(str(row["detail"])) for row in log), (
        "the figure is health data; the audit is not its place"
    )


@pytest.fixture
def flooding(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """An API whose history says that rules below 1 m³/h would flood."""
    asked: list[str] = []

    async def estimate(_database: Any, community_id: str, kind: str, rule: Any) -> float:
        asked.append(f"{community_id} {kind} {rule.id} {rule.parameters.limit}")
        return 5000.0 if rule.parameters.limit < 1 else 0.5

    monkeypatch.setattr(api_main, "history_estimate", estimate)
    yield asked


async def test_a_rule_that_would_flood_is_refused_unless_forced(world: World, flooding: list[str]) -> None:
    async with desk_and_admin(world) as (desk, _):
        calm = await put(desk, TEXT, 1)
        assert (calm.status_code, calm.json()["alerts_a_day"]) == (200, 0.5)
        text = TEXT.replace("limit: 3.125", "limit: 0.5").replace("clear_limit: 1", "clear_limit: 0.1")
        refused = await put(desk, text, 2)
        assert refused.status_code == 409
        assert refused.json()["errors"] == [{"alerts_a_day": 5000.0, "limit": 200.0}]
        assert "5000" in refused.json()["detail"]
        assert (await put(desk, text + "mode: shadow\n", 2)).status_code == 200, "a shadow wakes nobody"
        assert (await put(desk, text, 3, force=True)).status_code == 200
    assert flooding == [f"{COMMUNITY} water_meter {BURST.id} {limit}" for limit in (3.125, 0.5, 0.5)]


async def test_an_edit_counts_on_the_running_engine_without_a_restart(world: World) -> None:
    async def flows(m3_h: float) -> None:
        await world.reading(METER, "water_meter", {"flow": m3_h}, now_ms())
        await world.caught_up()

    async def in_force(version: int, limit: float) -> None:
        async def there() -> bool:
            running = worker._workers[PARTITION]._engine
            assert running is not None
            rule = running.roster.devices[DeviceNo(world.number(METER))].rules.by_id[BURST.id].rule
            return (rule.version, getattr(rule.parameters, "limit", None)) == (version, limit)

        await until(there)

    async with desk_and_admin(world) as (desk, _), engine(world, alerts_lease_s=30) as worker:
        await flows(2.0)
        assert await world.alerts() == []
        lower = TEXT.replace("limit: 3.125, for: 1m", "limit: 1.5, for: 1s")
        done = await put(desk, lower, 1)
        assert done.json()["in_force"]["engine"] is True
        await in_force(2, 1.5)
        await flows(2.1)
        (alert,) = await until(world.alerts)
        assert (alert["rule_id"], alert["rule_version"], alert["state"]) == (BURST.id, 2, "firing")
        override = f"/devices/{COMMUNITY}-{METER}/rules/{BURST.id}/override"
        fitted = await desk.put(override, json={"parameters": {"limit": 3}}, headers={"If-Match": '"0"'})
        assert fitted.json()["in_force"]["engine"] is True
        await in_force(2, 3.0)


async def test_a_stored_text_that_became_unreadable_stops_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an upgrade that took a metric away: the last text that can be read stands, and it is told."""

    async def stored(version: int, text: str, rule: str = BURST.id) -> None:
        async with world.pool.acquire() as connection:
            assert await rule_store.add_rule(
                connection, COMMUNITY, rule, version=version, kind=rule.partition(".")[0], mode=BURST.mode,
                document=text, by="t", note="",
            )  # fmt: skip

    await stored(2, TEXT.replace("limit: 3.125", "limit: 2.5"))
    await stored(3, TEXT.replace("metric: flow", "metric: taken_away"))
    await stored(2, "kind: gate\nid: gate.held\n", "gate.held")
    await world.pool.execute(
        "INSERT INTO rule_override (community_id, subject, rule_id, version, parameters, created_by) "
        "VALUES ($1, 'device:x', 'gas_meter.overflow', 1, $2, 't')",
        COMMUNITY,
        {"gone": 1},
    )
    found = await load_rules(world.pool, [PARTITION])
    meter = {rule.id: rule for rule in found.rulebook.of_kind(COMMUNITY, "water_meter")}
    assert (meter[BURST.id].version, getattr(meter[BURST.id].parameters, "limit", None)) == (2, 2.5)
    gate = {rule.id: rule for rule in found.rulebook.of_kind(COMMUNITY, "gate")}
    assert gate[RuleId("gate.held")] in load_defaults()["gate"]
    assert [(one.rule_id, one.version, one.instead) for one in found.unreadable] == [
        ("gate.held", 2, 1), (BURST.id, 3, 2), ("gas_meter.overflow", 1, None),
    ]  # fmt: skip
    assert "taken_away" in found.unreadable[1].why
    monkeypatch.setattr(proofs, "_ESTIMATE_S", 60.0)
    database: Any = SimpleNamespace(url=world.url)
    assert await proofs.history_estimate(database, COMMUNITY, "water_meter", BURST) == 0.0
    async with desk_and_admin(world) as (desk, _), engine(world):
        at = await world.event("smoke_detector-1", "alarm")
        assert (await until(world.alerts))[0]["last_at"].timestamp() * 1000 == pytest.approx(at, abs=1)
        shown = (await desk.get(f"{RULES}/{BURST.id}")).json()
        assert (shown["version"], shown["newest"]) == (2, 3)
        assert "taken_away" in shown["problem"]
        assert (await put(desk, TEXT, 3)).json()["rule"]["problem"] is None


async def test_rule_versions_are_never_changed_or_taken_away(world: World) -> None:
    await world.pool.execute(
        "INSERT INTO rule_version (community_id, rule_id, version, kind, mode, document, created_by) "
        "VALUES ($1, 'gate.held', 2, 'gate', 'live', 'x', 't')",
        COMMUNITY,
    )
    for statement in ("UPDATE rule_version SET document = 'y'", "DELETE FROM rule_version"):
        with pytest.raises(Exception, match="append-only"):
            await world.pool.execute(statement)
