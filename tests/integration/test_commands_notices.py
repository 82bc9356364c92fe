"""What people are told of commands, from the API's request to the notice: who approves, who reviews, who must act."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID

from services.adapters.commands.sending import lapse, remind
from services.adapters.notices.reading import read_outbox
from tests.integration.test_commands_api import PARTITIONS, Desk, there

__all__ = ["there"]


async def told(there: Desk, template: str) -> Counter[tuple[str, str]]:
    """(account, its words in Chinese) of each notice of this template, once the outbox was read to its end."""
    async with there.pool.acquire() as connection:
        while (done := await read_outbox(connection, datetime.now(UTC))) is not None and done.events:
            assert done.unreadable == 0
    rows = await there.pool.fetch(
        "SELECT u.username, n.params->'text'->>'zh' AS words FROM notice n "
        "JOIN app_user u ON n.recipient = 'account:' || u.id WHERE n.template = $1",
        template,
    )
    return Counter((row["username"], row["words"]) for row in rows)


async def test_whoever_may_approve_is_told_and_the_desk_when_nobody_did(there: Desk) -> None:
    asked = (await there.ask(there.desk, "siren-1", "siren_on", params={"seconds": 30})).json()["id"]
    waits = await told(there, "approve")
    assert {who for who, _ in waits} == {"admin", "street"} and all("test-siren-1" in words for _, words in waits)
    async with there.pool.acquire() as connection:
        over = await lapse(connection, PARTITIONS, datetime.now(UTC) + timedelta(minutes=11))
    assert over == [UUID(asked)]
    ends = await told(there, "command")
    assert {who for who, _ in ends} == {"desk"} and all("无人批准" in words for _, words in ends)
    assert set((await told(there, "approve")).values()) == {1}, "read again, nobody is told twice"


async def test_emergency_and_its_overdue_review_are_told_to_those_who_can_review_it(there: Desk) -> None:
    await there.ask(there.desk, "siren-1", "siren_on", params={"seconds": 30}, emergency=True)
    speak = {"kind": "loudspeaker", "name": "speak", "params": {"text": "请撤离"}, "everywhere": True}
    await there.batch(there.desk, **speak, emergency=True)
    first = await told(there, "review")
    assert {who for who, _ in first} == {"admin", "street"} and sum(first.values()) == 4
    async with there.pool.acquire() as connection:
        assert await remind(connection, PARTITIONS, datetime.now(UTC) + timedelta(hours=25)) == 2
    after = await told(there, "review") - first
    assert {who for who, _ in after} == {"admin", "street"} and sum(after.values()) == 4
    assert all("超过一天" in words for _, words in after)


async def test_batch_that_nobody_approved_is_told_once_and_what_harms_nobody_never(there: Desk) -> None:
    await there.batch(there.desk, kind="gas_meter", name="valve_close", everywhere=True)
    await there.ask(there.desk, "lamp_post-1", "on")
    assert sum((await told(there, "approve")).values()) == 2
    async with there.pool.acquire() as connection:
        over = await lapse(connection, PARTITIONS, datetime.now(UTC) + timedelta(minutes=11))
    assert len(over) == 5, "four meters, and a lamp that nobody told"
    ends = await told(there, "command")
    assert sum(ends.values()) == 1 and all("批量指令“关阀”" in words for _, words in ends)


async def test_command_that_was_approved_and_may_go_no_more_is_told_to_the_desk(there: Desk) -> None:
    command = (await there.ask(there.desk, "gas_meter-1", "valve_close")).json()["id"]
    await there.admin.post(f"/commands/{command}/approve", json={})
    await there.pool.execute("UPDATE app_user SET disabled_at = now() WHERE username = 'admin'")
    assert await there.hand_out() == []
    ends = await told(there, "command")
    assert {who for who, _ in ends} == {"desk"} and all("不再有权限" in words for _, words in ends)
