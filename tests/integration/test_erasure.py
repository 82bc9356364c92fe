"""Erasing a person: nothing of them is left in any table, the figures stay, a copy was whole before."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from services.adapters.log_rows import pack, unpack
from services.ingest import private
from tests.api_data import add_readings, raise_alert, set_state
from tests.api_server import api_server, client, connect
from tests.factory import put_community, small_community

BAND = "test-wristband-1"
NAME, PHONE, KIN, KIN_PHONE = "欧阳雪梅", "13911112222", "欧阳小楠", "13733334444"
HEART, NORTH = 187.25, 29.7654321
MARKERS = (NAME, PHONE, KIN, KIN_PHONE, str(HEART), str(NORTH))
_COLUMNS = """
SELECT c.table_name, c.column_name FROM information_schema.columns AS c JOIN information_schema.tables AS t
USING (table_schema, table_name)
WHERE table_schema = 'public' AND table_type = 'BASE TABLE'
"""


def once() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid.uuid4())}


async def found(connection: Any) -> set[tuple[str, str, str]]:
    """Where a marker stands in any column of any table, numbers and bytes by their text as well."""
    hits = set()
    for row in await connection.fetch(_COLUMNS):
        for marker in MARKERS:
            table, column = row["table_name"], row["column_name"]
            if await connection.fetchval(
                f'SELECT EXISTS (SELECT FROM "{table}" WHERE position($1 IN "{column}"::text) > 0)', marker
            ):
                hits.add((table, column, marker))
    for row in await connection.fetch("SELECT readings, packed FROM ingest_log"):
        vals = unpack(row["readings"], row["packed"]).vals
        hits |= {("ingest_log", "packed", str(value)) for value in vals if str(value) in MARKERS}
    for row in await connection.fetch("SELECT payload FROM quarantine"):
        hits |= {("quarantine", "payload", one) for one in MARKERS if one.encode() in row["payload"]}
    return hits


async def lived(database_url: str) -> Any:
    """Somebody of whom there is something everywhere."""
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    await connection.execute(
        "UPDATE person SET name = $1, phone = $2, account_id = 'user-resident1' WHERE id = 'test-p1'", NAME, PHONE
    )
    await connection.execute(
        "UPDATE app_user SET display_name = $1, household_id = 'test-h1' WHERE id = 'user-resident1'", NAME
    )
    number = await connection.fetchval("SELECT device_no FROM device WHERE id = $1", BAND)
    await connection.execute("UPDATE device SET name = $2 WHERE id = $1", BAND, f"{NAME}的手环")
    now = datetime.now(UTC)
    await add_readings(connection, BAND, "heart_rate", [(now - timedelta(hours=n), HEART) for n in range(60)])
    await set_state(connection, BAND, heart_rate=HEART, latitude=NORTH)
    for table in ("rollup_hour", "rollup_day"):
        await connection.execute(
            f"INSERT INTO {table} VALUES ($1, date_trunc('day', now()), 1, '{{1}}', $2, $2, $2, $2)", number, [HEART]
        )
    await connection.execute("INSERT INTO vital_baseline VALUES ($1, 'heart_rate', $2, 3, 14, now())", number, HEART)
    data = {"latitude": NORTH, "said": NAME}
    await connection.execute("INSERT INTO device_event VALUES ($1, now(), 'sos', $2, 'm1', now())", number, data)
    other = await connection.fetchval("SELECT device_no FROM device WHERE id = 'test-bin-1'")
    packed = pack([number, other], [1, 2], [1, 2], [[HEART], [40.0]])
    event = [{"type": "event", "device_no": number, "ts_ms": 1, "received_ms": 1, "event": "sos", "data": data}]
    partition = await connection.fetchval("SELECT partition FROM community WHERE id = 'test'")
    for lane, body, count, bytes_ in ((0, event, 0, b""), (1, [], 2, packed)):
        await connection.execute(
            "INSERT INTO ingest_log (partition, lane, seq, worker, body, readings, packed) "
            "VALUES ($1, $2, 1, 'w', $3, $4, $5)",
            partition, lane, body, count, bytes_,
        )  # fmt: skip
    await connection.execute(
        "INSERT INTO quarantine (worker, scope, reason, detail, topic, community_id, device_id, payload, payload_size)"
        " VALUES ('w', 'value', 'range', 'x', 't', 'test', $1, $2, 9)",
        BAND,
        json.dumps({"name": NAME, "heart_rate": HEART}).encode(),
    )
    # Every deadline of its order is over, so that figures stand still.
    alert, order = await raise_alert(
        connection, BAND, rule_id="wristband.sos", trigger={"value": HEART, **data}, at=now - timedelta(days=5)
    )
    await connection.execute("UPDATE alert SET place = $2 WHERE id = $1", alert, f"1号楼101室 {NAME}")
    await connection.execute("UPDATE work_order SET place = $2 WHERE id = $1", order, f"1号楼101室 {NAME}")
    await connection.execute(
        "INSERT INTO alert_occurrence (alert_id, at, what, severity, trigger, correlation, cause) "
        "VALUES ($1, now(), 'raised', 'critical', $2, 'x', 'x')",
        alert,
        {"value": HEART},
    )
    await connection.execute(
        "INSERT INTO alert_answer (alert_id, partition, ok, note, answered_by) VALUES ($1, 0, true, $2, 'x')",
        alert,
        NAME,
    )
    await connection.execute(
        "INSERT INTO work_order_history (order_id, version, move, from_state, to_state, at, actor_id, actor_role,"
        " reason)"
        " VALUES ($1, 99, 'note', 'dispatched', 'dispatched', now(), 'x', 'staff', $2)",
        order,
        f"{NAME}家没人，电话{KIN_PHONE}",
    )
    await connection.execute("UPDATE outbox SET data = data || jsonb_build_object('place', $1::text)", NAME)
    await connection.execute(
        "INSERT INTO resident_report (id, community_id, order_id, category, text, place, reporter_id, contact_name,"
        " contact_phone, created_at, idempotency_key, digest) VALUES (gen_random_uuid(), 'test', $1, 'noise', $2, '',"
        " 'user-resident1', $3, $4, now(), 'k', sha256('x'))",
        order, f"我是{NAME}", NAME, PHONE,
    )  # fmt: skip
    await connection.execute(
        "INSERT INTO notice (id, seq, community_id, order_id, recipient, template, severity, params, created_at,"
        " not_before, expires_at, state) VALUES (gen_random_uuid(), 0, 'test', $1, 'account:user-desk', 'x', 'minor',"
        " $2, now(), now(), now(), 'sent')",
        order,
        {"who": NAME},
    )
    await connection.execute(
        "INSERT INTO rule_override (community_id, subject, rule_id, version, parameters, created_by, note) "
        "VALUES ('test', 'person:test-p1', 'wristband.heart_rate_high', 1, $1, 'x', $2)",
        {"limit": HEART},
        NAME,
    )
    await connection.execute(
        "INSERT INTO rule_state (rule_id, subject, partition, state, shape) VALUES ('x', $1, 0, $2, '')",
        f"device:{number}",
        {"last": HEART},
    )
    for encoding in ("utf-8", "gb18030"):
        await connection.execute(
            "INSERT INTO registry_import (id, community_id, what, removing, content, digest, report, created_by,"
            " created_at) VALUES (gen_random_uuid(), 'test', 'devices', false, $1, sha256('x'), '{}', 'x', now())",
            f"id,name\nx,{NAME}的手环\n".encode(encoding),
        )
    await connection.execute("INSERT INTO external_identity VALUES ('https://id.example', $1, 'user-resident1')", PHONE)
    return connection


async def traces(connection: Any) -> tuple[int, int, int]:
    """Files that name the person, logins elsewhere and sessions of their account."""
    row = await connection.fetchrow(
        "SELECT (SELECT count(*) FROM registry_import), (SELECT count(*) FROM external_identity),"
        " (SELECT count(*) FROM app_session WHERE user_id = 'user-resident1')"
    )
    return tuple(row)


async def figures(http: Any) -> dict[str, Any]:
    today = datetime.now(UTC).date()
    path = f"/communities/test/kpis?from={today - timedelta(days=60)}&to={today}"
    shown = (await http.get(path)).json()
    return {one["name"]: (one["value"], one["numerator"], one["denominator"]) for one in shown["items"]}


async def test_erasing_leaves_nothing_of_the_person_and_every_figure_as_it_was(database_url: str) -> None:
    connection = await lived(database_url)
    async with api_server(database_url) as url:
        async with client(url, "resident1") as http:
            contact = {"name": KIN, "relation": "女儿", "phone": KIN_PHONE}
            assert (await http.post("/people/test-p1/contacts", json=contact, headers=once())).status_code == 200
            copy = await http.get("/people/test-p1/export", headers={"X-Purpose": "self"})
            archive = zipfile.ZipFile(io.BytesIO(copy.content))
            whole = {name: archive.read(name).decode() for name in archive.namelist()}
            assert all(any(marker in text for text in whole.values()) for marker in MARKERS)
            assert whole[f"readings/{BAND}.csv"].count(str(HEART)) == 60
            assert NAME in json.loads(whole["person.json"])["name"]
            assert [one["name"] for one in json.loads(whole["contacts.json"])] == [KIN]
        async with client(url, "admin") as admin, client(url, "desk") as desk:
            assert (await traces(connection))[:2] == (2, 1)
            before = await figures(desk)
            dry = (await admin.post("/people/test-p1/erase", json={"dry_run": True})).json()
            assert dry["state"] == "dry_run" and dry["counts"]["readings"] == 60 and dry["counts"]["contacts"] == 1
            assert {marker for _, _, marker in await found(connection)} == set(MARKERS)
            asked = (await admin.post("/people/test-p1/erase", json={"dry_run": False}, headers=once())).json()
            assert asked["state"] == "waiting"
            assert (await admin.post(f"/erasures/{asked['id']}/approve")).status_code == 409
            done = await desk.post(f"/erasures/{asked['id']}/approve")
            assert done.status_code == 200 and done.json()["state"] == "done", done.text
            assert await found(connection) == set()
            assert await traces(connection) == (0, 0, 0)
            assert await figures(desk) == before
            assert (await desk.get("/people/test-p1")).status_code == 404
            listed = (await desk.get("/communities/test/erasures")).json()["items"]
            assert [one["person_id"] for one in listed] == ["test-p1"]
            log = unpack(*(await connection.fetchrow("SELECT readings, packed FROM ingest_log WHERE lane = 1")))
            assert log.vals == [None, 40.0]
            # Whoever is gone does not come back with an old list.
            back = await desk.post(
                "/communities/test/people/import?dry_run=false", content=f"编号,姓名\ntest-p1,{NAME}\n".encode()
            )
            assert back.json()["faults"][0]["column"] == "id"
        await put_community(database_url, small_community())
        assert await connection.fetchval("SELECT name FROM person WHERE id = 'test-p1'") == "已抹除"
        assert await connection.fetchval("SELECT person_id FROM device WHERE id = $1", BAND) is None
    await connection.close()


async def test_retention_lets_go_of_each_class_by_its_days_and_of_nothing_else(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    now = datetime.now(UTC)
    for metric in ("heart_rate",):
        await add_readings(connection, BAND, metric, [(now - timedelta(days=n), 70.0 + n) for n in (1, 20, 40)])
    await connection.execute("UPDATE reading SET vals[7] = 29.7, vals[8] = 116.0")
    await add_readings(connection, "test-bin-1", "fill", [(now - timedelta(days=40), 5.0)])
    async with api_server(database_url) as url:
        async with client(url, "admin") as http:
            short = await http.put("/communities/test/retention/vitals", json={"days": 30})
            assert short.json()["days"] == 30
            assert (await http.put("/communities/test/retention/positions", json={"days": 10})).status_code == 200
            assert (await http.put("/communities/test/retention/vitals", json={"days": 3000})).status_code == 422
        async with client(url, "resident1") as http:
            shown = {one["name"]: one["days"] for one in (await http.get("/communities/test/retention")).json()}
            assert (shown["vitals"], shown["positions"], shown["report_contacts"]) == (30, 10, 30)
    assert await private.forget(connection) > 0
    rows = await connection.fetch(
        "SELECT d.id, r.vals[1] AS first, r.vals[7] AS north FROM reading r JOIN device d USING (device_no) "
        "ORDER BY r.ts"
    )
    assert [(row["first"], row["north"]) for row in rows if row["id"] == BAND] == [(90.0, None), (71.0, 29.7)]
    assert len(rows) == 3
    assert await private.forget(connection) == 0
    await connection.close()


async def test_erasing_cannot_be_feigned(database_url: str) -> None:
    """What only grows and what is evidence stays, whatever somebody says they do: neither as the tenants' role, nor as
    the services' without a request that two people have approved."""
    connection = await lived(database_url)
    await connection.execute(
        "INSERT INTO evidence (id, community_id, order_id, sort, sha256, original_sha256, media_type, bytes,"
        " uploaded_at, uploaded_by, uploader_role) SELECT gen_random_uuid(), 'test', id, 'photo', sha256('x'),"
        " sha256('x'), 'image/jpeg', 1, now(), 'x', 'staff' FROM work_order LIMIT 1"
    )
    await connection.execute("SELECT audit_append('x', 'admin', 'test', 'x', 'x', '{}')")
    request = uuid.uuid4()
    asked = (
        "INSERT INTO erasure (id, community_id, person_id, reason, requested_by, requested_at)"
        " VALUES ($1, 'test', 'test-p1', 'request', 'user-admin', now())"
    )
    await connection.execute(asked, request)
    changes = (
        "UPDATE audit SET actor_id = 'y'",
        "DELETE FROM audit",
        "UPDATE work_order_history SET reason = 'y'",
        "DELETE FROM work_order_history",
        "UPDATE alert_occurrence SET trigger = '{}'",
        "DELETE FROM alert_occurrence",
        "DELETE FROM rule_override",
        "UPDATE evidence SET uploaded_by = 'y'",
        "DELETE FROM evidence",
        "DELETE FROM emergency_access",
        "UPDATE emergency_access SET reason = 'y'",
    )

    async def refused(role: str, said: str, change: str) -> bool:
        try:
            async with connection.transaction():
                await connection.execute("SELECT tenant_enter('test', NULL, false, NULL, NULL, NULL)")
                await connection.execute("SELECT set_config('linhub.erasing', $1, true)", said)
                await connection.execute("SELECT set_config('role', $1, true)", role)
                await connection.execute(change)
        except (asyncpg.RestrictViolationError, asyncpg.InsufficientPrivilegeError):
            return True
        return False

    for said in ("person", str(uuid.uuid4()), str(request)):
        for change in changes:
            assert await refused("linhub_tenant", said, change), (said, change)
        for change in changes[:9]:
            assert await refused("linhub_service", said, change), (said, change)
    await connection.execute("UPDATE erasure SET approved_by = 'user-desk', approved_at = now() WHERE id = $1", request)
    for change in changes:
        assert await refused("linhub_tenant", str(request), change), change
    for change in ("DELETE FROM audit", "DELETE FROM work_order_history", "DELETE FROM evidence"):
        assert await refused("linhub_service", str(request), change), change
    # What an erasure must be able to do, it can: otherwise the lines above would say nothing.
    assert not await refused("linhub_service", str(request), "UPDATE work_order_history SET reason = 'y'")
    await connection.close()
