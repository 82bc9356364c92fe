"""Key figures from imported histories through the API: the check vector, an oracle, groups, rows, days and people."""

from __future__ import annotations

import json
import random
import secrets
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from services.adapters import order_import
from services.adapters.figures import Asked, Private, behind, tallies, tally
from services.adapters.order_import import Ready
from services.cli.order_file import records
from services.cli.orders_import import import_orders
from services.domain.ids import AlertId
from services.domain.kpis import COUNTED, DIMENSIONS, FIGURES, MEASURED, Days, Tally, kpi
from services.domain.orders import Source
from tests.api_data import raise_alert
from tests.api_server import api_server, client, connect
from tests.conftest import run
from tests.factory import put_community, small_community
from tests.kpi_oracle import Made, draft, facts, random_history, tally_of

NOW = datetime(2026, 11, 20, 4, tzinfo=UTC)


def vector() -> list[dict[str, Any]]:
    """受理 1054, 立案 996, 应结案 972, 结案 911, 按期 737; the rest of those filed were withdrawn."""
    rows = []
    for number in range(1054):
        at = datetime(2026, 10, 1 + number % 31, 9, tzinfo=UTC) + timedelta(seconds=number)
        moves: list[dict[str, Any]] = []

        def step(move: str, minutes: float, at: datetime = at, moves: list[Any] = moves, **more: Any) -> None:
            moves.append({"move": move, "at": (at + timedelta(minutes=minutes)).isoformat(), **more})

        if number < 996:
            step("dispatch", 1)
            if number >= 972:
                step("cancel", 5, reason="重复上报")
            else:
                step("accept", 1.5)
                step("arrive", 9 if number % 2 else 30)
            if number < 911:
                step("resolve", 60 if number < 737 else 60 * 30)
                step("verify", 60 * 31)
                step("close", 60 * 32)
        rows.append(
            {
                "external_id": f"v{number}",
                "source": ("platform", "staff", "resident", "patrol")[number % 4],
                "title": "垃圾堆放",
                "team": ("cleaning", "patrol", "maintenance")[number % 3],
                "severity": "minor",
                "building": "test-b1" if number % 5 == 0 else None,
                "created_at": at.isoformat(),
                "resolve_due_s": 86_400,
                "moves": moves,
            }
        )
    return rows


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


async def building_of(database_url: str) -> str:
    connection = await connect(database_url)
    found: str = await connection.fetchval("SELECT id FROM building WHERE community_id = 'test' LIMIT 1")
    await connection.close()
    return found


async def imported(database_url: str, path: Path, rows: list[dict[str, Any]], **more: Any) -> Any:
    options = {"partly": False, "forgive_people": False, "actor": "test", "now": NOW, **more}
    return await import_orders(database_url, "test", records(written(path, rows)), **options)


async def _october(database_url: str, folder: Path) -> None:
    await put_community(database_url, small_community())
    building = await building_of(database_url)
    rows = [{**row, "building": building if row["building"] else None} for row in vector()]
    done = await imported(database_url, folder / "v.jsonl", rows)
    assert (done.imported, done.faults) == (1054, ())


@pytest.fixture(scope="module")
def october(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for all tests that ask for the check vector: they read it, or write elsewhere."""
    run(_october(module_database_url, tmp_path_factory.mktemp("october")))
    return module_database_url


SPAN = {"from": "2026-10-01", "to": "2026-10-31"}


def by_name(items: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in items}


async def test_check_vector_comes_out_of_the_api(october: str) -> None:
    async with api_server(october) as url, client(url, "desk") as http:
        answer = await http.get("/communities/test/kpis", params=SPAN)
        shown = by_name(answer.json()["items"])
        again = await http.get("/communities/test/kpis", params=SPAN, headers={"If-None-Match": answer.headers["ETag"]})
        sheet = await http.get("/communities/test/kpis", params={**SPAN, "by": "team"}, headers={"Accept": "text/csv"})
    values = [shown[name]["value"] for name in ("received", "filed", "due", "closed", "closed_on_time")]
    assert values == [1054, 996, 972, 911, 737]
    assert (shown["closing"]["value"], shown["closing_on_time"]["value"]) == (93.72, 75.82)
    assert (shown["closing"]["numerator"], shown["closing"]["denominator"]) == (911, 972)
    assert again.status_code == 304 and not again.content
    assert sheet.headers["content-type"].startswith("text/csv")
    lines = sheet.text.removeprefix("\ufeff").splitlines()
    assert len(lines) == 4 and lines[0].startswith("team,name,from,to,received,")
    assert sum(int(float(line.split(",")[4])) for line in lines[1:]) == 1054


async def walk(http: httpx.AsyncClient, path: str, **params: Any) -> tuple[list[dict[str, Any]], float]:
    found: list[dict[str, Any]] = []
    total, after = 0.0, None
    while True:
        answer = await http.get(path, params={**params, "limit": 400} | ({"cursor": after} if after else {}))
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["items"]
        total, after = page["total"], page["next"]
        if after is None:
            return found, total


async def test_rows_behind_a_figure_add_up_to_it_whatever_the_filter(october: str) -> None:
    cells = 0
    async with api_server(october) as url, client(url, "desk") as http:
        for filters in ({}, {"team": "patrol", "building": ""}, {"day": "2026-10-05"}):
            shown = (await http.get("/communities/test/kpis", params={**SPAN, **filters})).json()
            for name, one in by_name(shown["items"]).items():
                for part in ("numerator", "denominator"):
                    if one[part] is None or name in ("open_alerts", "devices_online"):
                        continue
                    if "day" not in filters and name not in ("closing", "closing_on_time"):
                        continue
                    path = f"/communities/test/kpis/{name}/rows"
                    rows, total = await walk(http, path, **SPAN, **filters, part=part, at=shown["at"])
                    assert sum(row["value"] for row in rows) == pytest.approx(one[part]), (name, part, filters)
                    assert total == pytest.approx(one[part])
                    assert len({row["order"]["id"] for row in rows}) == len(rows)
                    cells += 1
        missing = await http.get("/communities/test/kpis/nonsense/rows")
    assert missing.status_code == 404
    assert cells > 50


async def test_groups_add_up_to_the_whole(october: str) -> None:
    sums = [figure for figure in FIGURES if figure.sort in ("count", "share", "per")]
    async with api_server(october) as url, client(url, "desk") as http:
        for by in DIMENSIONS:
            shown = (await http.get("/communities/test/kpis", params={**SPAN, "by": by})).json()
            whole = by_name(shown["items"])
            groups = [by_name(group["items"]) for group in shown["groups"]]
            for figure in sums:
                for part in ("numerator", "denominator"):
                    if whole[figure.name][part] is not None:
                        total = sum(group[figure.name][part] for group in groups)
                        assert total == pytest.approx(whole[figure.name][part]), (by, figure.name, part)
            assert groups


async def test_day_ends_at_midnight_where_the_community_lies(database_url: str, tmp_path: Path) -> None:
    await put_community(database_url, small_community())
    edges = {
        "a": "2026-10-31T15:59:59.999Z",  # the last moment of October in Shanghai
        "b": "2026-10-31T16:00:00Z",  # the first of November
        "c": "2026-09-30T16:00:00Z",  # the first of October
        "d": "2026-10-01T00:00:00",  # without an offset: local
    }
    rows = [
        {"external_id": name, "source": "staff", "title": "边界", "team": "patrol", "created_at": at, "moves": []}
        for name, at in edges.items()
    ]
    await imported(database_url, tmp_path / "e.jsonl", rows)
    async with api_server(database_url) as url, client(url, "desk") as http:
        october = (await http.get("/communities/test/kpis", params={**SPAN, "by": "day"})).json()
        november = (await http.get("/communities/test/kpis", params={"from": "2026-11-01", "to": "2026-11-01"})).json()
        wrong = [
            (await http.get("/communities/test/kpis", params=span)).status_code
            for span in ({"from": "2026-10-02", "to": "2026-10-01"}, {"from": "2020-01-01", "to": "2026-10-01"},
                         {"from": "x"}, {"at": "2026-10-01T00:00:00"}, {"by": "shoe_size"})
        ]  # fmt: skip
    assert {group["key"]: by_name(group["items"])["received"]["value"] for group in october["groups"]} == {
        "2026-10-01": 2,
        "2026-10-31": 1,
    }
    assert by_name(november["items"])["received"]["value"] == 1
    assert wrong == [422] * 5


async def test_person_figures_are_one_s_own_for_staff_and_all_for_the_desk(database_url: str, tmp_path: Path) -> None:
    await put_community(database_url, small_community())
    rows = [
        {
            "external_id": f"p{number}",
            "source": "staff",
            "title": "巡查",
            "team": "patrol",
            "created_at": "2026-10-05T08:00:00",
            "dispatched_at": "2026-10-05T08:01:00",
            "accepted_at": "2026-10-05T08:02:00",
            "accepted_by": "patrol1" if number < 3 else "",
        }
        for number in range(5)
    ]
    await imported(database_url, tmp_path / "p.jsonl", rows)
    ask = {**SPAN, "by": "person"}
    async with api_server(database_url) as url:
        async with client(url, "desk") as http:
            everybody = (await http.get("/communities/test/kpis", params=ask)).json()["groups"]
            own = next(group["key"] for group in everybody if not group["key"].startswith("import-"))
        async with client(url, "patrol1") as http:
            mine = (await http.get("/communities/test/kpis", params=ask)).json()["groups"]
            allowed = await http.get("/communities/test/kpis", params={**SPAN, "person": own})
            refused = await http.get("/communities/test/kpis", params={**SPAN, "person": "import-test-patrol"})
            hidden = await http.get(
                "/communities/test/kpis/closing/rows", params={**SPAN, "person": "import-test-patrol"}
            )
    assert sorted(by_name(group["items"])["received"]["value"] for group in everybody) == [2, 3]
    assert [group["key"] for group in mine] == [own]
    assert by_name(allowed.json()["items"])["received"]["value"] == 3
    assert (refused.status_code, hidden.status_code) == (403, 403)


async def test_street_sees_its_communities_side_by_side_and_no_other(october: str) -> None:
    import dataclasses

    other = dataclasses.replace(small_community("other", "o-"), street="另一街道")
    await put_community(october, other)
    async with api_server(october) as url:
        async with client(url, "street") as http:
            mine = (await http.get("/kpis", params=SPAN)).json()["communities"]
        async with client(url, "admin") as http:
            street = mine[0]["street_id"]
            all_of_them = (await http.get("/kpis", params=SPAN)).json()["communities"]
            one = (await http.get("/kpis", params={**SPAN, "street": street})).json()["communities"]
    assert [row["community_id"] for row in mine] == ["test"]
    assert by_name(mine[0]["items"])["closing"]["value"] == 93.72
    assert sorted(row["community_id"] for row in all_of_them) == ["other", "test"]
    assert one == mine


async def test_rules_about_health_are_one_for_whoever_may_not_see_them(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    for number, rule in enumerate(
        ("wristband.heart_rate_high", "wristband.own_made", "wristband.sos", "gas_alarm.alarm")
    ):
        device = "test-gas_alarm-1" if rule.startswith("gas") else "test-wristband-1"
        await raise_alert(connection, device, rule_id=rule, family=str(number), at=NOW - timedelta(hours=number))
    await connection.close()
    ask = {"from": "2026-11-18", "to": "2026-11-21", "by": "rule"}
    async with api_server(database_url) as url:
        keys = {}
        for who in ("desk", "street", "platform"):
            async with client(url, who) as http:
                groups = (await http.get("/communities/test/kpis", params=ask)).json()["groups"]
                keys[who] = sorted(group["key"] for group in groups)
    assert keys["desk"] == ["gas_alarm.alarm", "wristband.heart_rate_high", "wristband.own_made", "wristband.sos"]
    assert keys["street"] == keys["platform"] == ["gas_alarm.alarm", "health", "wristband.sos"]


# The oracle


async def put_random(connection: Any, chance: random.Random, count: int, numbers: Counter[str]) -> list[Made]:
    """Random histories, some of them of alerts, written as an import writes them."""
    known = await order_import.known_of(connection, "test", forgive_people=True)
    made = []
    for number in range(count):
        at = NOW - timedelta(seconds=chance.randrange(40 * 86_400))
        serial = numbers.total()
        numbers["orders"] += 1
        more: dict[str, Any] = {"id": UUID(int=chance.getrandbits(128))}
        if chance.random() < 0.3:
            alert, _ = await raise_alert(
                connection, "test-gas_alarm-1", family=f"{serial}", at=at, opens_order=False, state="cleared"
            )
            more |= {"source": Source.ALERT, "alert_id": AlertId(alert)}
        elif chance.random() < 0.5:
            more["building_id"] = chance.choice(list(known.buildings))
        made.append(random_history(chance, draft(chance, "test", serial, **more), at, NOW))
        assert number >= 0
    ready = [Ready(0, one.order, one.history) for one in made]
    async with connection.transaction():
        await order_import.write(connection, known, ready, "test")
    return made


def same(found: Tally, wanted: Tally) -> None:
    for name in COUNTED:
        assert found.counts[name] == wanted.counts[name], name
    for name in MEASURED:
        assert found.much[name].count == wanted.much[name].count, name
        assert found.much[name].total == pytest.approx(wanted.much[name].total), name
        if wanted.much[name].p90 is not None:
            assert found.much[name].p90 == pytest.approx(wanted.much[name].p90), name


async def test_figures_equal_an_oracle_over_random_histories(database_url: str) -> None:
    """Goes on until every fact was true of some order and not of another; totals, groups and rows are compared."""
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    await connection.set_type_codec("jsonb", encoder=str, decoder=str, schema="pg_catalog", format="text")
    seed = secrets.randbits(32)
    print(f"seed {seed}")  # noqa: T201
    chance, numbers = random.Random(seed), Counter[str]()
    made: list[Made] = []
    rare: set[str] = set()
    while len(rare) < 2 * len(COUNTED) - 1 or len(made) < 400:
        assert len(made) < 20_000, f"never seen: {[n for n in COUNTED if f'{n} True' not in rare]}"
        made += await put_random(connection, chance, 200, numbers)
        rare |= {f"{name} {one[name]}" for m in made[-200:] for one in [facts(m.history, NOW)] for name in COUNTED}
    days = Days((NOW - timedelta(days=30)).date(), NOW.date())
    start, end = days.bounds("Asia/Shanghai")
    for moment in (NOW, NOW + timedelta(days=1)):
        asked = Asked("test", "Asia/Shanghai", start, end, moment, {}, Private())
        inside = [m for m in made if start <= m.order.created_at < end]
        found = {m.order.id: facts(m.history, moment) for m in inside}
        whole = await tally(connection, asked)
        same(whole, tally_of(list(found.values())))
        groups = await tallies(connection, asked, "team")
        for key in {m.order.team.value for m in inside}:
            same(groups[key], tally_of([found[m.order.id] for m in inside if m.order.team.value == key]))
        for figure in FIGURES:
            one = kpi(figure, whole)
            rows = await behind(connection, asked, figure, denominator=False, after=None, limit=100_000)
            assert sum(row.value for row in rows) == pytest.approx(one.numerator or 0), figure.name
            values = {m: found[m][figure.over] for m in found}
            wanted = {m for m, value in values.items() if (value if figure.sort != "mean" else value is not None)}
            if figure.sort in ("count", "share", "per"):
                assert {row.id for row in rows} == wanted, figure.name
    print(f"{len(made)} histories, {len(COUNTED) + len(MEASURED)} facts")  # noqa: T201
    await connection.close()
