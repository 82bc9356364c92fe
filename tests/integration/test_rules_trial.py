"""Rules on trial and rules that would flood, on the running engine and over what was really stored."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.adapters.postgres import open_pool
from services.adapters.rules import load_defaults
from services.adapters.rules import store as rule_store
from services.api.rules import proofs
from services.domain.rules.rule import Mode
from services.domain.rules.writing import write_rule
from tests.api_server import api_server, client
from tests.integration.alerts_support import COMMUNITY, World, engine, until
from tests.integration.plans_support import put_plan

OVERFLOW = next(rule for rule in load_defaults()["bin"] if rule.id == "bin.overflow")
TRIAL = write_rule("bin", OVERFLOW).replace("id: bin.overflow", "id: bin.overflow_trial") + "mode: shadow\n"
PLAN = """
id: bin_full
title: {zh: 满溢处置, en: Overflow}
trigger:
  alerts: [bin.overflow, bin.overflow_trial]
steps:
  - id: family
    notice:
      people: [building]
      text: {zh: "请清运", en: "Empty it"}
"""
HOT = """
kind: environment
rules:
  - id: environment.warm
    version: 1
    title: {zh: 偏暖, en: Warm}
    severity: minor
    team: grid
    when:
      threshold: {metric: temperature, compare: ">=", limit: 20}
"""
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    pool = await open_pool(database_url, name="test", max_size=4)
    found = World(database_url, pool)
    await found.prepare()
    yield found
    await pool.close()


async def put_on_trial(world: World) -> None:
    async with world.pool.acquire() as connection, connection.transaction():
        assert await rule_store.add_rule(
            connection,
            COMMUNITY,
            "bin.overflow_trial",
            version=1,
            kind="bin",
            mode=Mode.SHADOW,
            document=TRIAL,
            by="user-desk",
            note="",
        )


async def test_a_rule_on_trial_is_recorded_and_sends_nobody_beside_its_live_sibling(world: World) -> None:
    await put_plan(world.pool, PLAN, "bin_full")
    await put_on_trial(world)
    async with engine(world):
        at = await world.event("bin-1", "overflow")
        await world.event("bin-1", "overflow", at + 1)
        await until(lambda: world.alerts("shadow AND occurrences = 2"))
        await until(lambda: world.alerts("NOT shadow AND occurrences = 2 AND order_id IS NOT NULL"))
        await world.caught_up()
    live, trial = sorted(await world.alerts(), key=lambda row: bool(row["shadow"]))
    assert (trial["rule_id"], trial["shadow"], trial["order_id"], trial["held"]) == (
        "bin.overflow_trial", True, None, [],
    )  # fmt: skip
    assert (live["rule_id"], live["shadow"], live["family"], live["onset_at"]) == (
        "bin.overflow", False, trial["family"], trial["onset_at"],
    )  # fmt: skip
    (order,) = await world.orders()
    assert order["alert_id"] == live["id"]
    runs = await world.pool.fetch("SELECT alert_id FROM plan_run")
    assert [row["alert_id"] for row in runs] == [live["id"]], "its plan ran for the live one alone"
    told = await world.pool.fetch("SELECT type, data FROM outbox ORDER BY seq")
    assert not [row for row in told if str(trial["id"]) in str(row["data"])], "nothing of a trial leaves"


async def test_diff_compares_a_rule_on_trial_with_the_live_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await put_on_trial(world)
    await world.pool.execute(
        "INSERT INTO device_event (device_no, ts, event, received_at, data) "
        "SELECT $1, at, 'overflow', at + interval '1 s', '{}'::jsonb "
        "FROM generate_series($2::timestamptz, $3::timestamptz, interval '3 hours') AS at",
        world.number("bin-1"),
        NOW - timedelta(hours=23),
        NOW - timedelta(hours=2),
    )
    monkeypatch.setenv("LINHUB_DATABASE_URL", world.url)
    span = ["--from", (NOW - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M%z"), "--community", COMMUNITY, "--json"]

    async def diff(*more: str) -> tuple[int, dict[str, Any]]:
        words = ["rules", "diff", "current", "current", *span, *more]
        started = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "from services.cli.main import app; app()", *words, stdout=PIPE, stderr=PIPE
        )
        out, errors = await started.communicate()
        return started.returncode or 0, json.loads(out) if out.startswith(b"{") else {"said": errors.decode()}

    code, said = await diff("--pair", "bin.overflow_trial=bin.overflow")
    assert (code, said["counts"]) == (0, {"same": 8, "added": 0, "removed": 0, "moved": 0, "changed": 0})
    code, said = await diff("--pair", "bin.overflow_trial=bin.full")
    assert (code, said["counts"]["added"]) == (1, 8), "compared with a rule that says nothing of it"
    code, said = await diff("--pair", "bin.nothing=bin.overflow")
    assert code == 2 and "bin.nothing" in said["said"]


async def test_a_rule_that_would_page_all_the_time_is_refused_with_the_figure_unless_forced(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proofs, "_ESTIMATE_S", 80.0)  # as long as it takes on a busy machine
    # A station a minute off and on the limit, three days long: 720 alerts a day.
    await world.pool.execute(
        "INSERT INTO reading (device_no, ts, delay_ms, vals) "
        "SELECT $1, $2::timestamptz + n * interval '1 min', 200, ARRAY[19 + 2 * (n % 2), 50, 20, 20, 40] "
        "FROM generate_series(0, 4319) AS n",
        world.number("environment-1"),
        NOW - timedelta(days=3),
    )
    path, new = f"/communities/{COMMUNITY}/rules/environment.warm", {"Content-Type": "text/yaml", "If-None-Match": "*"}
    async with api_server(world.url) as url, client(url, "desk") as desk:
        refused = await desk.put(path, content=HOT, headers=new)
        assert refused.status_code == 409, refused.text
        (figures,) = refused.json()["errors"]
        # Over the last seven days, of which three have data.
        assert figures["limit"] == 200.0 and figures["alerts_a_day"] == pytest.approx(720 * 3 / 7, rel=0.02)
        assert f"{figures['alerts_a_day']:.0f}" in refused.json()["detail"]
        assert await world.pool.fetchval("SELECT count(*) FROM rule_version") == 0
        taken = await desk.put(path, content=HOT, headers=new, params={"force": True, "note": "试一天"})
        assert (taken.status_code, taken.json()["alerts_a_day"]) == (
            200,
            pytest.approx(figures["alerts_a_day"], rel=0.01),
        )
        calm = HOT.replace("limit: 20", "limit: 40")
        seen = {"Content-Type": "text/yaml", "If-Match": '"1"'}
        less = await desk.put(path, content=calm, headers=seen)
        assert (less.status_code, less.json()["alerts_a_day"]) == (200, 0.0)
    detail = await world.pool.fetchval("SELECT detail FROM audit WHERE action = 'rule.put' ORDER BY id LIMIT 1")
    assert (detail["force"], detail["note"]) == (True, "试一天")
