"""Rows of the audit trail edited, taken out, moved and put in by somebody who may do everything in the database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from typer.testing import CliRunner

from services.adapters.audit import Anchor, head, verify
from services.cli.audit import read_anchors
from services.cli.main import app
from tests.api_server import connect
from tests.fault_rows import note, row

ROWS = 40
EDITS: list[tuple[str, str, int]] = [
    ('UPDATE audit SET detail = \'{"purpose": "duty"}\' WHERE id = 17', "edited", 17),
    ("UPDATE audit SET actor_id = 'somebody' WHERE id = 1", "edited", 1),
    ("UPDATE audit SET at = at + interval '1 us' WHERE id = 40", "edited", 40),
    ("UPDATE audit SET hash = sha256('x') WHERE id = 9", "edited", 9),
    ("DELETE FROM audit WHERE id = 12", "missing", 12),
    ("DELETE FROM audit WHERE id BETWEEN 3 AND 20", "missing", 3),
    ("DELETE FROM audit WHERE id = 1", "missing", 1),
    (
        "UPDATE audit SET id = -1 WHERE id = 21; UPDATE audit SET id = 21 WHERE id = 22;"
        " UPDATE audit SET id = 22 WHERE id = -1",
        "moved",
        21,
    ),
    (
        "INSERT INTO audit SELECT 41, at, actor_id, actor_role, community_id, action, subject, detail, previous, hash"
        " FROM audit WHERE id = 40; UPDATE audit AS a SET hash = audit_hash(a.previous, a) WHERE id = 41",
        "foreign",
        41,
    ),
    (
        "UPDATE audit SET subject = 'device:other' WHERE id = 25;"
        " UPDATE audit AS a SET hash = audit_hash(a.previous, a) WHERE id = 25",
        "rewritten",
        25,
    ),
]


async def _fill(database_url: str) -> Any:
    connection = await connect(database_url)
    for number in range(ROWS):
        await connection.execute(
            "SELECT audit_append($1, 'desk', NULL, 'health.read', $2, $3)",
            "user-desk",
            f"device:{number}",
            {"purpose": "回访", "n": number},
        )
    return connection


async def _by_hand(connection: Any, statements: str) -> None:
    await connection.execute("ALTER TABLE audit DISABLE TRIGGER USER")
    await connection.execute(statements)
    await connection.execute("ALTER TABLE audit ENABLE TRIGGER USER")


@row(37)
@pytest.mark.parametrize(("statements", "fault", "id"), EDITS, ids=[f"{fault}-{id}" for _, fault, id in EDITS])
async def test_audit_edited_by_hand_is_named(database_url: str, statements: str, fault: str, id: int) -> None:
    connection = await _fill(database_url)
    whole = await verify(connection)
    assert whole.found is None and whole.rows == ROWS and whole.head == await head(connection)
    await _by_hand(connection, statements)
    verdict = await verify(connection)
    await connection.close()
    assert verdict.found is not None and (verdict.found.fault, verdict.found.id) == (fault, id)
    note(sent=ROWS, lost=0, doubled=0, rows_named=1)


@row(37)
async def test_audit_cut_off_or_written_anew_is_told_by_what_was_noted_elsewhere(database_url: str) -> None:
    connection = await _fill(database_url)
    noted = await head(connection)
    assert noted is not None
    await _by_hand(connection, "DELETE FROM audit WHERE id > 35")
    # The chain that is left is whole in itself: only the note tells.
    assert (await verify(connection)).found is None
    cut = (await verify(connection, anchors=[noted])).found
    assert cut is not None and (cut.fault, cut.id) == ("cut off", ROWS)
    for number in range(5):
        await connection.execute("SELECT audit_append('x', 'desk', NULL, 'a', $1, '{}')", f"b:{number}")
    assert (await verify(connection)).found is None
    anew = (await verify(connection, anchors=[noted])).found
    assert anew is not None and (anew.fault, anew.id) == ("rewritten", ROWS)
    await connection.close()
    note(sent=ROWS, lost=0, doubled=0, rows_named=2)


@row(37)
async def test_audit_refuses_to_be_changed_or_emptied_while_its_triggers_stand(database_url: str) -> None:
    connection = await _fill(database_url)
    for statement in ("UPDATE audit SET actor_id = 'x'", "DELETE FROM audit", "TRUNCATE audit"):
        with pytest.raises(asyncpg.RestrictViolationError):
            await connection.execute(statement)
    assert await connection.fetchval("SELECT count(*) FROM audit") == ROWS
    await connection.close()
    note(sent=ROWS, lost=0, doubled=0)


async def test_audit_verify_of_the_command_line_names_the_row_and_keeps_notes(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    connection = await _fill(database_url)
    monkeypatch.setenv("LINHUB_DATABASE_URL", database_url)
    notes, run = tmp_path / "anchors", CliRunner()

    async def linhub(*arguments: str) -> Any:
        return await asyncio.to_thread(run.invoke, app, ["audit", *arguments])

    good = await linhub("verify", "--anchors", str(notes))
    assert good.exit_code == 0 and f"{ROWS} rows" in good.output
    assert read_anchors(notes) == [await head(connection)]
    assert (await linhub("verify", "--anchor", "rubbish")).exit_code == 2
    listed = await linhub("list", "--subject", "device:39", "--json")
    assert json.loads(listed.output)["detail"] == {"purpose": "回访", "n": 39}
    await _by_hand(connection, "UPDATE audit SET actor_id = 'nobody' WHERE id = 30")
    bad = await linhub("verify", "--anchors", str(notes))
    assert bad.exit_code == 1 and "row 30: edited" in bad.output and "nobody" in bad.output
    assert len(read_anchors(notes)) == 1
    after = await linhub("verify", "--from-id", "31", "--json")
    assert json.loads(after.output) | {"head": None} == {
        "whole": True, "rows": 10, "head": None, "anchors": 0, "fault": None
    }  # fmt: skip
    await connection.close()


def test_audit_anchors_are_read_from_notes_and_logs(tmp_path: Path) -> None:
    anchor = Anchor(7, bytes(range(32)))
    log = tmp_path / "log"
    log.write_text(
        f"# noted\n{anchor}\n2026-11-22 10:00:00 [info     ] audit_anchor  anchor={anchor} service=api\n"
        f'{{"event": "audit_anchor", "anchor": "{anchor}"}}\n'
    )
    assert read_anchors(log) == [anchor] * 3
    with pytest.raises(ValueError, match="anchor"):
        Anchor.read("7:abc")
