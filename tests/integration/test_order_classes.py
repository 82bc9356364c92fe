"""Classes of orders of a community: by version, with every fault told, through drills and texts gone bad."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest
from httpx import AsyncClient

from services.adapters.orders.class_files import default_document
from services.adapters.orders.classes import UNREADABLE, VersionMoved, terms_for, write_version
from services.domain.ids import CommunityId, OrderId
from services.domain.orders import Draft, Source
from services.domain.vocabulary import Label, Severity, Team
from tests.api_server import api_server, client
from tests.factory import put_community, small_community

HOME = "test"
PATH = f"/communities/{HOME}/order-classes"
OWN = """\
calendars:
  day:
    - {days: workday, from: "09:00", to: "17:00"}
classes:
  - id: grave
    title: {zh: 严重, en: Grave}
    match: {severity: [critical]}
    clocks:
      accept: {due: 30s, warn: 10s, ladder: {leader: 0s, desk: 30s}}
      resolve: {due: 2h}
      verify: {due: 24h}
  - id: rest
    title: {zh: 其余, en: The rest}
    calendar: day
    clocks:
      accept: {due: 1h}
      resolve: {due: 16h}
      verify: {due: 48h}
"""
NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    await put_community(database_url, small_community(HOME))
    one = await asyncpg.connect(database_url)
    yield one
    await one.close()


@pytest.fixture
async def http(connection: object, database_url: str) -> AsyncIterator[AsyncClient]:
    async with api_server(database_url) as url, client(url, "admin") as one:
        yield one


def draft(severity: Severity = Severity.CRITICAL) -> Draft:
    return Draft(
        OrderId(uuid4()), CommunityId(HOME), Source.ALERT, "bin", severity, Label("满", "Full"), Team.CLEANING, "d@1"
    )


def sent(version: int) -> dict[str, str]:
    return {"If-Match": f'"{version}"', "Content-Type": "text/yaml"}


async def test_classes_are_written_read_and_put_back(
    http: AsyncClient, connection: asyncpg.Connection[asyncpg.Record]
) -> None:
    first = await http.get(PATH)
    assert (first.json()["version"], first.json()["newest"], first.headers["ETag"]) == (0, 0, '"0"')
    assert first.json()["document"] == default_document() == (await http.get(f"{PATH}/defaults")).json()["document"]
    assert (await terms_for(connection, draft())).class_id == "emergency"

    written = await http.put(PATH, content=OWN, headers=sent(0), params={"note": "试行"})
    assert (written.status_code, written.json()["version"]) == (200, 1)
    terms = await terms_for(connection, draft())
    assert (terms.class_id, terms.class_version, terms.clocks["accept"].due_s) == ("grave", 1, 30)
    assert (await terms_for(connection, draft(Severity.MINOR))).spans
    assert (await http.put(PATH, content=OWN, headers=sent(0))).status_code == 412
    assert (await http.put(PATH, content=OWN, headers={"Content-Type": "text/yaml"})).status_code == 428
    assert (await http.put(PATH, json={}, headers={"If-Match": '"1"'})).status_code == 415

    assert (await http.delete(PATH, headers=sent(1))).json()["version"] == 2
    again = (await http.get(PATH)).json()
    assert (again["version"], again["document"]) == (2, default_document())
    assert [(one["version"], one["removed"]) for one in again["history"]] == [(2, True), (1, False)]
    assert (await terms_for(connection, draft())).class_id == "emergency"
    actions = [row["action"] for row in await connection.fetch("SELECT action FROM audit WHERE action LIKE 'order_c%'")]
    assert sorted(actions) == ["order_class.put", "order_class.remove"]


async def test_classes_with_faults_are_refused_with_the_line_of_each(http: AsyncClient) -> None:
    text = OWN.replace("30s, warn: 10s", "30s, warn: 40s").replace("calendar: day", "calendar: dya")
    refused = await http.put(PATH, content=text, headers=sent(0))
    assert refused.status_code == 422
    faults = [(one["line"], one["where"]) for one in refused.json()["errors"]]
    assert faults == [(9, "classes[0].clocks.accept.warn"), (14, "classes[1].calendar")]
    assert "did you mean day" in refused.json()["errors"][1]["en"]
    assert (await http.get(PATH)).json()["newest"] == 0


async def test_classes_are_the_administrators_to_change_and_everybodys_to_read(
    http: AsyncClient, database_url: str
) -> None:
    async with api_server(database_url) as url, client(url, "patrol1") as staff:
        assert (await staff.get(PATH)).status_code == 200
        assert (await staff.put(PATH, content=OWN, headers=sent(0))).status_code == 403


async def test_drill_makes_clocks_faster_and_is_over_by_itself(
    http: AsyncClient, connection: asyncpg.Connection[asyncpg.Record]
) -> None:
    await http.put(PATH, content=OWN, headers=sent(0))
    now = datetime.now(UTC)
    until = (now + timedelta(minutes=30)).isoformat()
    made = await http.post(f"{PATH}/drill", json={"scale": 0.1, "until": until}, headers={"If-Match": '"1"'})
    assert (made.status_code, made.json()["version"]) == (200, 2)
    drilled = await terms_for(connection, draft(), now)
    assert (drilled.class_id, drilled.class_version, drilled.clocks["accept"].due_s) == ("grave", 2, 3.0)
    assert [step.after_s for step in drilled.clocks["accept"].steps] == [0, 3.0]
    shown = (await http.get(PATH)).json()
    assert (shown["scale"], shown["version"]) == (0.1, 2)
    after = await terms_for(connection, draft(), now + timedelta(minutes=31))
    assert (after.class_version, after.clocks["accept"].due_s) == (1, 30)
    for scale, ahead in ((0.001, 1), (2, 1), (0.5, 25), (0.5, -1)):
        body = {"scale": scale, "until": (now + timedelta(hours=ahead)).isoformat()}
        assert (await http.post(f"{PATH}/drill", json=body, headers={"If-Match": '"2"'})).status_code == 422
    ended = await http.delete(f"{PATH}/drill", headers=sent(2))
    assert ended.json()["version"] == 3
    back = await terms_for(connection, draft(), now)
    assert (back.class_version, back.clocks["accept"].due_s) == (3, 30)


async def test_drill_over_the_defaults_ends_at_the_defaults(
    http: AsyncClient, connection: asyncpg.Connection[asyncpg.Record]
) -> None:
    until = datetime.now(UTC) + timedelta(minutes=5)
    body = {"scale": 0.05, "until": until.isoformat()}
    await http.post(f"{PATH}/drill", json=body, headers={"If-None-Match": "*"})
    assert (await terms_for(connection, draft())).clocks["accept"].due_s == 3.0
    assert (await terms_for(connection, draft(), until)).clocks["accept"].due_s == 60
    shown = (await http.get(PATH)).json()
    assert shown["history"][0]["removed"] is False and shown["document"] == default_document()


async def test_calendars_show_holidays_of_the_days_to_come(http: AsyncClient) -> None:
    found = (await http.get(f"{PATH}/calendars", params={"days": 14})).json()
    office = next(one for one in found["calendars"] if one["name"] == "office")
    assert found["timezone"] == "Asia/Shanghai" and office["used_by"] == ["info"]
    assert len(office["days"]) == 14
    for day in office["days"]:
        assert (day["hours"] == 7.5) == day["workday"]
        assert [stretch["start"][11:16] for stretch in day["stretches"]] == (
            ["08:30", "13:30"] if day["workday"] else []
        )
    always = next(one for one in found["calendars"] if one["name"] == "always")
    assert {day["hours"] for day in always["days"]} == {24.0}


async def test_text_that_has_become_unreadable_leaves_the_one_before_it(
    connection: asyncpg.Connection[asyncpg.Record], capsys: pytest.CaptureFixture[str]
) -> None:
    """As after an update of the software. The order has its clocks all the same."""
    assert await write_version(connection, HOME, OWN, "admin", expected=0) == 1
    assert await write_version(connection, HOME, "classes: 5", "admin") == 2
    before = UNREADABLE._value.get()
    terms = await terms_for(connection, draft())
    assert (terms.class_id, terms.class_version) == ("grave", 1)
    assert UNREADABLE._value.get() - before == 1
    assert "order_classes_unreadable" in capsys.readouterr().out
    with pytest.raises(VersionMoved):
        await write_version(connection, HOME, OWN, "admin", expected=1)


async def test_nothing_readable_leaves_the_defaults(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    await write_version(connection, HOME, "{", "admin")
    terms = await terms_for(connection, draft())
    assert (terms.class_id, terms.class_version) == ("emergency", 0)


async def test_text_that_trips_its_reader_leaves_the_defaults(
    connection: asyncpg.Connection[asyncpg.Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is that goes wrong in it: an order is opened all the same."""

    def trips(_: str) -> None:
        raise RecursionError

    await write_version(connection, HOME, OWN + "# another text\n", "admin")
    monkeypatch.setattr("services.adapters.orders.classes.parsed", trips)
    terms = await terms_for(connection, draft())
    assert (terms.class_id, terms.class_version) == ("emergency", 0)


async def test_versions_are_never_edited(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    await write_version(connection, HOME, OWN, "admin")
    with pytest.raises(asyncpg.RestrictViolationError):
        await connection.execute("UPDATE order_class_version SET document = ''")


async def test_finding_the_terms_is_one_question_of_an_index(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    await write_version(connection, HOME, OWN, "admin")
    await terms_for(connection, draft())
    asked: list[str] = []
    connection.add_query_logger(lambda record: asked.append(record.query))
    await terms_for(connection, draft(), NOW)
    await asyncio.sleep(0)
    assert len(asked) == 1 and "order_class_version" in asked[0]
