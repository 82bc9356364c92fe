"""`linhub orders import`: once, all or the good ones, each fault with its line; a month's report made of it."""

from __future__ import annotations

import io
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import openpyxl
import pypdfium2
import pytest
from typer.testing import CliRunner

from device_sim.order_month import month as made_up_month
from device_sim.order_month import until
from services.adapters.figures import Private
from services.adapters.monthly.store import read_month
from services.adapters.orders import fetch_history, order_row
from services.cli.main import app
from services.cli.order_file import FileError, records, write_rejects
from services.cli.orders_import import import_orders
from services.domain.kpis import Days
from services.domain.orders import fold
from tests.api_server import api_server, client, connect
from tests.conftest import run
from tests.factory import put_community, small_community
from tests.integration.test_kpis_figures import SPAN, by_name, written

NOW = datetime(2026, 11, 20, 4, tzinfo=UTC)
GOOD: dict[str, Any] = {
    "external_id": "g1",
    "source": "resident",
    "title": "水管渗漏",
    "team": "maintenance",
    "created_at": "2026-10-03T09:00:00",
    "moves": [
        {"move": "dispatch", "at": "2026-10-03T09:01:00"},
        {"move": "accept", "at": "2026-10-03T09:02:00"},
        {"move": "pause", "at": "2026-10-03T09:10:00", "pause_reason": "waiting_parts"},
        {"move": "resume", "at": "2026-10-03T11:10:00"},
        {"move": "arrive", "at": "2026-10-03T11:20:00"},
        {"move": "resolve", "at": "2026-10-03T12:00:00"},
        {"move": "verify", "at": "2026-10-03T13:00:00"},
        {"move": "call_back", "at": "2026-10-03T14:00:00", "outcome": "satisfied"},
        {"move": "close", "at": "2026-10-03T15:00:00"},
        {"move": "rate", "at": "2026-10-03T16:00:00", "rating": 5},
    ],
}


def bad(**change: Any) -> dict[str, Any]:
    return {**GOOD, **change}


FAULTS: list[tuple[Any, str]] = [
    ("not json", "not JSON"),
    ([1], "a JSON object is expected"),
    (bad(team="plumbers"), "team"),
    (bad(source="alert"), "source"),
    (bad(colour="red"), "colour"),
    (bad(external_id=""), "external_id"),
    (bad(building="nowhere"), "no building nowhere"),
    (bad(device="nothing"), "no device nothing"),
    (bad(grid="g99"), "no grid g99"),
    (bad(created_at="2027-01-01T00:00:00"), "in the future"),
    (bad(created_at="yesterday"), "created_at"),
    (bad(moves=[{"move": "close", "at": "2026-10-03T10:00:00"}]), "moves.1 close"),
    (bad(moves=[{"move": "dispatch", "at": "2026-10-03T08:00:00"}]), "before the step before it"),
    (bad(moves=[{"move": "dispatch", "at": "2026-12-03T08:00:00"}]), "in the future"),
    (bad(moves=[{"move": "dispatch", "at": "2026-10-03T10:00:00", "by": "nobody"}]), "no account nobody"),
    (bad(moves=[{"move": "create", "at": "2026-10-03T10:00:00"}]), "moves.1 create"),
    (bad(rating=7), "rating"),
]


async def imported(url: str, path: Path, rows: list[Any], **more: Any) -> Any:
    options = {"partly": False, "forgive_people": False, "actor": "test", "now": NOW, **more}
    return await import_orders(url, "test", records(written(path, rows)), **options)


async def test_import_writes_the_fold_of_each_history_and_twice_is_once(database_url: str, tmp_path: Path) -> None:
    await put_community(database_url, small_community())
    community = small_community()
    rows = [GOOD, *until(made_up_month(community, Days.month("2026-10"), 5, share=60), NOW)]
    first = await imported(database_url, tmp_path / "a.jsonl", rows)
    assert (first.imported, first.known, first.faults) == (len(rows), 0, ())
    again = await imported(database_url, tmp_path / "b.jsonl", rows)
    assert (again.imported, again.known, again.faults) == (0, len(rows), ())
    connection = await connect(database_url)
    stored = await connection.fetch("SELECT * FROM work_order ORDER BY number")
    assert len(stored) == len(rows)
    for row in stored:
        assert order_row(row).order == fold(await fetch_history(connection, row["id"]))
    one = next(row for row in stored if row["external_id"] == "g1")
    assert (one["state"], one["rating"], one["call_back"], one["paused_s"]) == ("closed", 5, "satisfied", 7200)
    assert await connection.fetchval("SELECT count(*) FROM outbox") == 0
    assert await connection.fetchval("SELECT count(*) FROM audit WHERE action = 'orders.import'") == 1
    usable = await connection.fetchval("SELECT count(*) FROM app_user WHERE id LIKE 'import-%' AND disabled_at IS NULL")
    assert usable == 0
    # An order that went on here is the same order; another history under its name is a fault.
    longer = await imported(database_url, tmp_path / "c.jsonl", [{**GOOD, "moves": GOOD["moves"][:4]}])
    assert (longer.known, longer.faults) == (1, ())
    moved = [{**GOOD["moves"][0], "at": "2026-10-03T09:00:30"}]
    other = await imported(database_url, tmp_path / "d.jsonl", [{**GOOD, "moves": moved}])
    assert [fault.line for fault in other.faults] == [1] and "another history" in other.faults[0].what
    await connection.close()


async def test_every_fault_is_told_with_its_line_and_nothing_is_written(database_url: str, tmp_path: Path) -> None:
    await put_community(database_url, small_community())
    lines = []
    for number, (row, _) in enumerate(FAULTS):
        if isinstance(row, dict) and row["external_id"]:
            row = {**row, "external_id": f"f{number}"}
        lines.append(row if isinstance(row, str) else json.dumps(row, ensure_ascii=False))
    lines += ["", json.dumps(GOOD), json.dumps(GOOD)]
    path = tmp_path / "bad.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = records(path)
    options: dict[str, Any] = {"forgive_people": False, "actor": "test", "now": NOW}
    done = await import_orders(database_url, "test", found, partly=False, **options)
    assert [fault.line for fault in done.faults] == [*range(1, len(FAULTS) + 1), len(FAULTS) + 3]
    for fault, (_, words) in zip(done.faults, FAULTS, strict=False):
        assert words in fault.what, (fault, words)
    assert f"line {len(FAULTS) + 2}" in done.faults[-1].what
    connection = await connect(database_url)
    assert await connection.fetchval("SELECT count(*) FROM work_order") == 0
    partly = await import_orders(database_url, "test", found, partly=True, **options)
    assert (partly.imported, len(partly.faults)) == (1, len(FAULTS) + 1)
    assert await connection.fetchval("SELECT count(*) FROM work_order") == 1
    await connection.close()
    rejected = {fault.line for fault in partly.faults}
    write_rejects(tmp_path / "rejects.jsonl", path, [record for record in found if record.line in rejected])
    assert (tmp_path / "rejects.jsonl").read_text().splitlines() == [*lines[: len(FAULTS)], lines[-1]]


async def test_merged_orders_find_their_own_in_any_order_of_lines(database_url: str, tmp_path: Path) -> None:
    await put_community(database_url, small_community())
    into = {**GOOD, "external_id": "into"}
    steps = [GOOD["moves"][0], {"move": "merge", "at": "2026-10-03T09:05:00", "merge_into": "into"}]
    lost = [steps[0], {**steps[1], "merge_into": "lost"}]
    merged = {**GOOD, "external_id": "m", "moves": steps}
    missing = await imported(database_url, tmp_path / "a.jsonl", [{**merged, "external_id": "x", "moves": lost}])
    assert "not there" in missing.faults[0].what
    assert (await imported(database_url, tmp_path / "b.jsonl", [merged, into])).imported == 2


def test_csv_is_read_with_its_lines_and_local_times(database_url: str, tmp_path: Path) -> None:
    run(put_community(database_url, small_community()))
    path = tmp_path / "old.csv"
    path.write_text(
        "external_id,source,title,team,created_at,dispatched_at,accepted_at,arrived_at,resolved_at,verified_at,"
        "closed_at,rating,place\r\n"
        'c1,resident,"灯不亮\r\n第二行",maintenance,2026-10-01 08:00,2026-10-01 08:01,2026-10-01 08:02,'
        "2026-10-01 08:30,2026-10-01 09:00,2026-10-01 10:00,2026-10-01 11:00,4,=1+1\r\n"
        "c2,resident,缺到场,maintenance,2026-10-01 08:00,2026-10-01 08:01,2026-10-01 08:02,,2026-10-01 09:00,,,,\r\n"
        "c3,resident,少一列\r\n",
        encoding="utf-8-sig",
    )
    rejects = tmp_path / "rejects.csv"
    command = ["orders", "import", str(path), "--community", "test", "--rejects", str(rejects)]
    done = CliRunner().invoke(app, command, env={"LINHUB_DATABASE_URL": database_url, "LANG": "C"})
    assert done.exit_code == 1, done.output
    assert f"{path}:4: moves.3 resolve" in done.output and f"{path}:5: 3 列" in done.output
    assert "3 records: 1 imported, 0 here already, 2 wrong" in done.output
    assert [line.split(",")[0] for line in rejects.read_text().splitlines()] == ["external_id", "c2", "c3"]
    refused = CliRunner().invoke(app, command, env={"LINHUB_DATABASE_URL": database_url, "LANG": "C"})
    assert refused.exit_code == 2 and "there already" in refused.output
    gone = CliRunner().invoke(app, [*command[:4], "nowhere"], env={"LINHUB_DATABASE_URL": database_url, "LANG": "C"})
    assert gone.exit_code == 2 and "no community nowhere" in gone.output


def test_files_that_are_none_are_refused_in_words(tmp_path: Path) -> None:
    for name, content in (("a.txt", b""), ("b.csv", b"colour,id\n"), ("c.jsonl", b"\xff\xfe"), ("d.csv", b'a"b\n"x')):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FileError):
            records(tmp_path / name)
    with pytest.raises(FileError):
        records(tmp_path / "missing.jsonl")


# The monthly report


def pdf_text(content: bytes) -> list[str]:
    document = pypdfium2.PdfDocument(content)
    return [document[number].get_textpage().get_text_range() for number in range(len(document))]


async def test_monthly_report_says_what_the_api_says(database_url: str, tmp_path: Path) -> None:
    community = small_community()
    await put_community(database_url, community)
    rows = list(until(made_up_month(community, Days.month("2026-10"), 5, share=80), NOW))
    rows.append({**GOOD, "external_id": "=cmd", "title": "=HYPERLINK(1)"})
    await imported(database_url, tmp_path / "a.jsonl", rows)
    ask = {"month": "2026-10", "format": "xlsx"}
    async with api_server(database_url) as url:
        async with client(url, "desk") as http:
            shown = by_name((await http.get("/communities/test/kpis", params=SPAN)).json()["items"])
            teams = (await http.get("/communities/test/kpis", params={**SPAN, "by": "team"})).json()["groups"]
            book = await http.get("/communities/test/monthly-reports", params=ask, timeout=60)
            page = await http.get("/communities/test/monthly-reports", params={**ask, "format": "pdf"}, timeout=60)
            kept = {"If-None-Match": book.headers["ETag"]}
            same = await http.get("/communities/test/monthly-reports", params=ask, headers=kept)
            wrong = await http.get("/communities/test/monthly-reports", params={"month": "2026-13"})
        async with client(url, "patrol1") as http:
            unnamed = await http.get("/communities/test/monthly-reports", params=ask, timeout=60)
    assert (book.status_code, page.status_code, same.status_code, wrong.status_code) == (200, 200, 304, 422)
    sheets = openpyxl.load_workbook(io.BytesIO(book.content))
    summary = {row[1].value: row for row in sheets["概要"].iter_rows() if row[1].value}
    for one in shown.values():
        if one["name"] in ("open_alerts", "devices_online"):
            continue
        value = summary[one["label"]["en"]][2].value
        assert value == ("—" if one["value"] is None else pytest.approx(one["value"])), one["name"]
    by_team = {row[0].value: row[1].value for row in sheets["按队伍"].iter_rows(min_row=2) if row[1].value is not None}
    assert by_team == {group["label"]["zh"]: by_name(group["items"])["received"]["value"] for group in teams}
    orders = list(sheets["工单"].iter_rows(min_row=2))
    assert len(orders) == shown["received"]["value"] == len(rows)
    assert sheets["工单"].auto_filter.ref is not None
    assert all(cell.data_type != "f" for row in orders for cell in row)
    assert [len(sheets[name]._charts) for name in ("按队伍", "按类别", "按日")] == [1, 1, 1]
    pages = pdf_text(page.content)
    assert 3 <= len(pages) <= 8
    assert f"第 1 页 / 共 {len(pages)} 页" in pages[0]
    assert f"{shown['closing']['value']:.2f}%" in pages[0] and f"{shown['closing_on_time']['value']:.2f}%" in pages[0]
    text = "".join(pages)
    connection = await connect(database_url)
    for person in await connection.fetch("SELECT name FROM person"):
        assert person["name"] not in text
    assert "室内" not in text  # a home's own place
    staff = {row[4].value for row in orders}
    assert any(staff) and not any(
        r[4].value for r in openpyxl.load_workbook(io.BytesIO(unnamed.content))["工单"].iter_rows(min_row=2)
    )
    await connection.close()


async def test_report_calls_things_by_name_and_counts_the_hours_of_the_roster(
    database_url: str, tmp_path: Path
) -> None:
    """Two versions of a rota: around the clock from 1 October, from the 11th on by day only; shifts on nine days."""
    await put_community(database_url, small_community())
    await imported(database_url, tmp_path / "a.jsonl", [bad(category="water_leak"), bad(external_id="2", category="x")])
    connection = await connect(database_url)
    person = await connection.fetchval("SELECT id FROM app_user WHERE duty_team = 'patrol' LIMIT 1")
    for version, since, cover in ((1, 1, "always"), (2, 11, "hours")):
        rota = {
            "team": "patrol", "shifts": [{"name": "日", "from": "08:00", "to": "20:00"}], "people": [[person]],
            "from": "2026-09-01", "cover": cover,
        }  # fmt: skip
        at = datetime(2026, 9, 30, 16, tzinfo=UTC) + timedelta(days=since - 1)
        await connection.execute(
            "INSERT INTO duty_pattern VALUES ('test', 'p', $1, 'patrol', $2::text::jsonb, 'x', $3)",
            version, json.dumps(rota), at,
        )  # fmt: skip
    for day in range(5, 14):
        await connection.execute(
            "INSERT INTO duty_shift (id, community_id, team, user_id, starts_at, ends_at, made_by, made_at) "
            "VALUES (gen_random_uuid(), 'test', 'patrol', $1, $2::timestamptz, $2::timestamptz + interval '12 hours', "
            "'x', $2)",
            person, datetime(2026, 10, day, tzinfo=UTC),
        )  # fmt: skip
    found = await read_month(connection, "test", "2026-10", NOW, Private(), people=False)
    await connection.close()
    assert {one.key: one.label.zh for one in found.categories} == {"water_leak": "漏水", "x": "x"}
    assert all(one.label.zh != one.key for one in found.classes)
    assert {one.category.zh for one in found.orders} == {"漏水", "x"}
    [month] = found.cover
    assert month.required_s == (10 * 24 + 21 * 12) * 3600
    assert month.covered_s == 9 * 12 * 3600
    assert any("已排班 21.95%" in one.zh for one in found.conclusions)


async def test_report_of_an_empty_month_says_so_and_divides_by_nothing(database_url: str) -> None:
    await put_community(database_url, small_community())
    async with api_server(database_url) as url, client(url, "street") as http:
        ask = {"month": "2026-09", "format": "pdf"}
        answer = await http.get("/communities/test/monthly-reports", params=ask, timeout=60)
        assert answer.status_code == 200, answer.text
        assert "本月没有受理工单" in "".join(pdf_text(answer.content))
        shown = (await http.get("/communities/test/kpis", params={"from": "2026-09-01", "to": "2026-09-30"})).json()
    values = {one["name"]: one["value"] for one in shown["items"]}
    assert values["received"] == 0 and values["closing"] is None and values["accept_p90"] is None


async def test_a_month_of_20_000_orders_takes_seconds(database_url: str, tmp_path: Path) -> None:
    """Rows are copied inside the database from one imported order: the figures are what is timed."""
    await put_community(database_url, small_community())
    await imported(database_url, tmp_path / "a.jsonl", [GOOD])
    connection = await connect(database_url)
    columns = await connection.fetchval(
        "SELECT string_agg(quote_ident(column_name), ', ') FROM information_schema.columns "
        "WHERE table_name = 'work_order' AND is_generated = 'NEVER' "
        "AND column_name NOT IN ('id', 'number', 'external_id', 'created_at')"
    )
    await connection.execute(
        f"INSERT INTO work_order (id, external_id, created_at, {columns}) SELECT gen_random_uuid(), 'x' || n, "
        f"created_at + n * interval '1 minute', {columns} FROM work_order, generate_series(1, 19999) AS n"
    )
    await connection.execute("ANALYZE work_order")
    await connection.close()
    async with api_server(database_url, query_timeout_s=60) as url, client(url, "desk") as http:
        started = time.perf_counter()
        answer = await http.get("/communities/test/kpis", params={**SPAN, "by": "day"}, timeout=90)
        shown = by_name(answer.json()["items"])
        took = time.perf_counter() - started
    print(f"figures and days of 20,000 orders: {took:.2f} s")  # noqa: T201
    assert shown["received"]["value"] == 20_000


def test_made_up_month_is_the_same_for_a_seed_and_believable() -> None:
    community = small_community()
    days = Days.month("2026-10")
    one, two = (list(made_up_month(community, days, 7, share=300)) for _ in range(2))
    assert one == two != list(made_up_month(community, days, 8, share=300))
    assert len(one) == round(4 * 0.42 * 300)
    moves = {move["move"] for order in one for move in order["moves"]}
    assert moves >= {"dispatch", "accept", "arrive", "resolve", "verify", "close", "return", "reopen", "pause", "rate"}
    for order in one:
        times = [datetime.fromisoformat(move["at"]) for move in order["moves"]]
        assert times == sorted(times)
        assert all(earlier >= datetime.fromisoformat(order["created_at"]) - timedelta(0) for earlier in times)
