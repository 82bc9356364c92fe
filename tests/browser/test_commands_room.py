"""The room of commands in a real browser: two people and a device that answers, expiry, emergencies, batches, lamps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from playwright.async_api import Browser, Page

from device_sim.fleet import Fleet
from device_sim.life import Surroundings
from tests.api_server import connect
from tests.browser.kit import Watched, World, new_context, open_page
from tests.browser.room_kit import DESK, PHONE, confirmed, forgive, forgive_silence, gone, looked_at
from tests.browser.waiting import counted, says, until
from tests.factory import secret_of
from tests.sim_kit import broker_of

ALIVE = ("lamp_post", "siren", "loudspeaker")


@asynccontextmanager
async def devices(world: World, home: Path) -> AsyncIterator[None]:
    """Those of ALIVE, simulated, at the broker and heard."""
    some = tuple(one for one in world.community.devices if one.kind in ALIVE)
    secrets = {str(one.id): secret_of(one.id) for one in some}
    world.mqtt.admit(secrets)
    alive = replace(world.community, devices=some)
    fleet = Fleet(alive, broker_of(world.mqtt), secrets, Surroundings(alive), home=home, with_backfill=False)
    stop = asyncio.Event()
    life = asyncio.create_task(fleet.run(stop))
    try:
        query = "SELECT FROM device_state s JOIN device d USING (device_no) WHERE s.online AND d.id = ANY ($1)"

        async def all_there() -> bool:
            return len(await rows(world, query, list(secrets))) == len(secrets)

        await until(all_there)
        yield
    finally:
        stop.set()
        await asyncio.wait_for(life, 60)


async def rows(world: World, query: str, *values: Any) -> list[Any]:
    connection = await connect(world.database_url)
    try:
        return list(await connection.fetch(query, *values))
    finally:
        await connection.close()


async def room(browser: Browser, world: World, username: str, part: str = "", size: tuple[int, int] = DESK) -> Watched:
    watched = await open_page(await new_context(browser, size), world, username, "?theme=dark&lang=zh")
    community = f"?community={world.community.id}" if username in ("admin", "street") else ""
    await watched.page.goto(f"{world.url}/commands{part}{community}")
    await watched.page.wait_for_selector("[data-testid=commands]")
    return watched


async def ask(world: World, username: str, device: str, name: str, **more: Any) -> str:
    """By the API, as this person; the command's id."""
    async with world.http(username) as http:
        answer = await http.post(
            f"/communities/{world.community.id}/commands",
            json={"device_id": f"{world.community.id}-{device}", "name": name, "why": "演练", **more},
            headers={"Idempotency-Key": str(uuid4())},
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])


async def shown(page: Page, command: str, *words: str) -> None:
    """Until the command's row says all of these."""
    row = page.locator(f"tr[data-row='{command}']")

    async def there() -> bool:
        said = await row.inner_text() if await row.count() else ""
        return all(word in said for word in words)

    await until(there)


async def test_commands_room_two_people_and_a_siren_that_answers(
    world: World, browser: Browser, tmp_path: Path
) -> None:
    home = world.community.id
    async with devices(world, tmp_path):
        asker = await room(browser, world, "desk", f"/ask/siren/{home}-siren-1")
        page = asker.page
        form = page.locator("[data-testid=ask]")
        await form.locator("[data-name=siren_on]").wait_for()
        assert "危险" in await form.locator("[data-name=siren_on]").inner_text()
        await form.locator("[data-name=siren_on] input").check()
        await form.locator("[name=seconds]").fill("5")
        assert "居民可能疏散" in await form.locator("[data-testid=risk]").inner_text()
        assert await page.is_disabled("[data-testid=ask-do]"), "asked for without a reason"
        await form.locator("[name=why]").fill("三号楼燃气泄漏，通知撤离")
        await looked_at(page, "commands-ask", (DESK, PHONE))
        await page.click("[data-testid=ask-do]")

        # It waits for somebody else, and says so; nobody approves themselves, by this page or past it.
        waits = page.locator("[data-waits]")
        await waits.wait_for()
        command = str(await waits.get_attribute("data-waits"))
        assert "须由另一人批准" in await waits.inner_text()
        assert await page.locator("[data-testid=approve]").count() == 0, "whoever asked may approve"
        await says(page, "[data-testid=command-end]", "待批准")
        async with world.http("desk") as http:
            own = await http.post(f"/commands/{command}/approve", json={"note": ""})
            assert own.status_code == 403

        second = await room(browser, world, "street")
        other = second.page
        await says(other, "[data-testid=waiting] h2", "等您批准：1")
        card = other.locator(f"[data-waits='{command}']")
        said = await card.inner_text()
        assert all(word in said for word in ("鸣响：5 秒", "户外", "危险", "居民可能疏散", "三号楼燃气泄漏", "还剩"))
        await looked_at(other, "commands-waiting", (DESK, PHONE))
        # By keyboard: Enter on the button asks once more, with all that it does in words.
        await card.locator("[data-testid=approve]").focus()
        await other.keyboard.press("Enter")
        dialog = other.locator("[data-testid=decide]")
        await dialog.locator("[data-testid=device-now]").wait_for()
        said = await dialog.inner_text()
        assert all(word in said for word in ("批准并立即下发", "60 秒内执行", "在线", "已鸣响", "三号楼燃气泄漏"))
        await looked_at(other, "commands-approve", (DESK, PHONE))
        await dialog.locator("[name=words]").fill("已电话核实")
        await dialog.locator("[data-testid=decide-do]").focus()
        await other.keyboard.press("Enter")
        await gone(dialog)

        # Without anybody loading anything anew, both see that it was carried out, and by what that is known.
        await shown(other, command, "已证实", "上报了")
        await says(page, "[data-testid=command-end]", "已证实")
        moves = page.locator("[data-testid=command-history] [data-move]")
        lines = [await one.get_attribute("data-move") for one in await moves.all()]
        assert lines[:3] == ["request", "approve", "put"] and lines[-1] == "confirm"
        assert "已电话核实" in await page.inner_text("[data-move=approve]")
        await looked_at(page, "command-confirmed", (DESK, PHONE))
        await gone(page.locator("[data-waits]"))
        await page.keyboard.press("Escape")
        await gone(page.locator("[data-testid=command-drawer]"))
        await looked_at(page, "commands-ledger", (DESK, PHONE))
        asker.assert_clean()
        forgive_silence(second)
        second.assert_clean()


async def test_commands_room_refuses_calls_back_and_lets_expire(world: World, browser: Browser) -> None:
    """Nothing answers here."""
    rejected = await ask(world, "desk", "gas_meter-1", "valve_close")
    forgotten = await ask(world, "desk", "water_meter-1", "valve_open")
    mine = await ask(world, "admin", "electricity_meter-1", "relay_open")
    unheard = await ask(world, "desk", "gate-1", "open")
    watched = await room(browser, world, "admin")
    page = watched.page
    await counted(page, "[data-waits]", 3)
    order = [await one.get_attribute("data-waits") for one in await page.locator("[data-waits]").all()]
    assert order[-1] == mine, "what one may decide stands first"
    await shown(page, unheard, "已过期", "未在时限内回答", "可能已执行")

    await page.click(f"[data-waits='{rejected}'] [data-testid=reject]")
    assert await page.is_disabled("[data-testid=decide-do]"), "rejected without a word"
    await page.fill("[data-testid=decide] [name=words]", "住户在家，已关阀")
    await page.click("[data-testid=decide-do]")
    await shown(page, rejected, "已拒绝", "住户在家，已关阀")
    await page.click(f"[data-waits='{mine}'] [data-testid=call-back]")
    await page.fill("[data-testid=decide] [name=words]", "点错了")
    await page.click("[data-testid=decide-do]")
    await shown(page, mine, "已取消", "下发前撤回", "点错了")
    await rows(world, "UPDATE command SET expires_at = now() WHERE id = $1", UUID(forgotten))
    await shown(page, forgotten, "已过期", "无人在时限内批准")
    await gone(page.locator("[data-waits]"))

    await page.select_option("[name=filter]", "look")
    await counted(page, "tr[data-row]", 2)
    await page.select_option("[name=filter]", "refused")
    await counted(page, "tr[data-row]", 1)
    await page.select_option("[name=filter]", "all")
    await page.fill("[name=device]", f"{world.community.id}-gate-1")
    await counted(page, "tr[data-row]", 1)
    # A link to a command opens it; one that somebody was faster with says how it stands.
    late = await ask(world, "desk", "gas_meter-2", "valve_close")
    await page.click(f"[data-waits='{late}'] [data-testid=approve]")
    async with world.http("desk") as http:
        assert (await http.post(f"/commands/{late}/cancel", json={"why": "不用了"})).status_code == 200
    await page.click("[data-testid=decide-do]")
    await says(page, "[data-testid=decide] [role=alert]", "已过期")
    await page.keyboard.press("Escape")
    await gone(page.locator("[data-testid=decide]"))
    await page.goto(f"{world.url}/commands/{rejected}?community={world.community.id}")
    await says(page, "[data-testid=command-end]", "住户在家，已关阀")
    forgive(watched, 409)
    watched.assert_clean()


async def test_commands_room_emergency_broadcast_is_sent_and_reviewed(
    world: World, browser: Browser, tmp_path: Path
) -> None:
    async with devices(world, tmp_path):
        watched = await room(browser, world, "desk")
        page = watched.page
        await page.click("[data-testid=new-broadcast]")
        form = page.locator("[data-testid=batch-form]")
        await form.locator("[name=text]").fill("燃气泄漏，请立即从最近楼梯撤离")
        await form.locator("[name=grid]").first.check()
        await says(page, "[data-testid=reach]", "1 台")
        await form.locator("[name=why]").fill("燃气泄漏")
        await looked_at(page, "commands-broadcast", (DESK, PHONE))
        await form.locator("[name=emergency]").check()
        await page.click("[data-testid=batch-do]")
        assert await rows(world, "SELECT FROM command WHERE community_id = $1", world.community.id) == []
        assert "另一人复核" in await page.inner_text("[data-testid=confirm]")
        await looked_at(page, "commands-emergency", (DESK, PHONE))
        await confirmed(page)
        await says(page, "[data-testid=batch-drawer] [data-testid=batch-progress]", "1/1")
        await says(page, "[data-testid=batch-drawer]", "第一网格")
        await looked_at(page, "commands-batch", (DESK, PHONE))
        await page.keyboard.press("Escape")
        review = page.locator("[data-review]")
        await review.wait_for()
        assert "您下发的，须由另一人复核" in await review.inner_text()
        assert await page.locator("[data-testid=review]").count() == 0, "whoever sent it may review it"

        second = await room(browser, world, "admin")
        other = second.page
        await says(other, "[data-testid=reviews] h2", "紧急越权待复核：1")
        await looked_at(other, "commands-review", (DESK, PHONE))
        await other.click("[data-testid=review]")
        await other.check("[name=verdict][value=justified]")
        await other.fill("[data-testid=decide] [name=words]", "属实，处置得当")
        await other.click("[data-testid=decide-do]")
        await gone(other.locator("[data-testid=reviews]"))
        await gone(page.locator("[data-testid=reviews]"))
        query = "SELECT state, verdict, reviewed_by FROM command WHERE community_id = $1"
        (row,) = await rows(world, query, world.community.id)
        assert (row["state"], row["verdict"], row["reviewed_by"]) == ("confirmed", "justified", "user-admin")
        watched.assert_clean()
        second.assert_clean()


async def test_commands_room_batch_is_paced_and_stopped(world: World, browser: Browser) -> None:
    """Two detectors at one in fifty seconds: the second has not left when somebody stops it."""
    watched = await room(browser, world, "admin")
    page = watched.page
    await page.click("[data-testid=new-batch]")
    form = page.locator("[data-testid=batch-form]")
    await form.locator("[name=kind]").select_option("smoke_detector")
    await form.locator("[name=command]").select_option("test")
    await form.locator("[name=everywhere]").check()
    await says(page, "[data-testid=reach]", "2 台")
    await form.locator("[name=pace]").fill("0.01")
    await form.locator("[name=why]").fill("季度自检")
    await page.click("[data-testid=batch-do]")
    drawer = page.locator("[data-testid=batch-drawer]")
    await drawer.wait_for()

    async def one_left() -> bool:
        states = "SELECT state FROM command WHERE community_id = $1"
        found = {row["state"] for row in await rows(world, states, world.community.id)}
        return "queued" in found and bool(found & {"sent", "expired"})

    await until(one_left)
    await says(page, "[data-testid=batch-drawer]", "每秒 0.01 台")
    await drawer.get_by_role("button", name="停止其余").click()
    await page.fill("[data-testid=decide] [name=words]", "今天不测了")
    await looked_at(page, "commands-stop", (DESK, PHONE))
    await page.click("[data-testid=decide-do]")
    await says(page, "[data-testid=batch-drawer]", "今天不测了")
    await says(page, "[data-testid=batch-drawer]", "已取消")
    await page.keyboard.press("Escape")
    await says(page, "[data-testid=batch-progress]", "/2 已结束")
    await looked_at(page, "commands-batches", (DESK, PHONE))
    ended = await rows(world, "SELECT FROM command WHERE community_id = $1 AND state = 'cancelled'", world.community.id)
    assert len(ended) == 1
    watched.assert_clean()


async def test_commands_room_lamps_by_the_sun(world: World, browser: Browser) -> None:
    watched = await room(browser, world, "desk")
    page = watched.page
    await page.click("[data-view=lamps]")
    await page.click("[data-testid=lamp-new]")
    form = page.locator("[data-testid=lamp-form]")
    await form.locator("[name=zh]").fill("主路路灯")
    await form.locator("[name=lamp-id]").fill("main_road")
    await form.locator("select[name=on_deg]").select_option("-6")
    await page.click("[data-testid=dim-add]")
    await form.locator("[name=dim-to]").fill("40")
    await form.locator("[name=grid]").first.check()
    await looked_at(page, "lamps-form", (DESK, PHONE))
    await page.click("[data-testid=lamp-save]")
    one = page.locator("[data-lamps=main_road]")
    await one.wait_for()
    said = await one.inner_text()
    assert all(word in said for word in ("主路路灯", "第一网格", "−6° 民用晨昏", "23:00 40%", "现在"))
    await looked_at(page, "lamps", (DESK, PHONE))
    async with world.http("admin") as http:
        path = f"/communities/{world.community.id}/lamp-schedules/main_road"
        body = {"title": {"zh": "主路", "en": "Main road"}}
        assert (await http.put(path, json=body, headers={"If-Match": '"1"'})).status_code == 200
    await page.click("[data-testid=lamp-edit]")
    await form.locator("[name=en]").fill("Main")
    await page.click("[data-testid=lamp-save]")
    await says(page, "[data-testid=lamp-form] [role=alert]", "他人已先修改")
    await page.keyboard.press("Escape")
    await page.goto(f"{world.url}/lamps")
    await page.click("[data-testid=lamp-remove]")
    await confirmed(page)
    await gone(one)
    forgive(watched, 412)
    watched.assert_clean()


async def test_commands_room_from_a_devices_panel_and_who_may_not(
    world: World, browser: Browser, tmp_path: Path
) -> None:
    home = world.community.id
    async with devices(world, tmp_path):
        watched = await open_page(await new_context(browser), world, "grid1", "?theme=light&lang=zh")
        page = watched.page
        await page.fill("[data-testid=search]", f"{home}-lamp_post-1")
        await page.locator(".search li button").first.click()
        panel = page.locator("[data-testid=device-commands]")
        await panel.locator("[data-command=dim]").click()
        await page.fill("[data-testid=ask] [name=brightness]", "35")
        await page.fill("[data-testid=ask] [name=why]", "居民反映太亮")
        await page.click("[data-testid=ask-do]")
        # The lamp says that it is done, and then its own reading of the brightness proves it.
        await says(page, "[data-testid=command-end]", "“亮度”也显示如此")
        await says(page, "[data-testid=command-drawer]", "35")
        await page.keyboard.press("Escape")
        views = [await one.get_attribute("data-view") for one in await page.locator(".views [data-view]").all()]
        assert views == ["ledger", "lamps"], "批次 are the desk's"
        assert await page.locator("[data-testid=new-broadcast], [data-testid=new-batch]").count() == 0
        await page.goto(f"{world.url}/commands/ask/siren/{home}-siren-1/siren_on")
        await page.wait_for_selector("[data-testid=ask]")
        kinds = await page.locator("[data-testid=ask] [name=kind] option").all_inner_texts()
        assert "声光警报器" not in kinds and "智慧灯杆" in kinds, "网格员 are offered what is dangerous"
        watched.assert_clean()

    patrol = await open_page(await new_context(browser), world, "patrol1", "?theme=light&lang=zh")
    await patrol.page.goto(f"{world.url}/commands")
    await patrol.page.wait_for_selector("[data-testid=cockpit]")
    assert await patrol.page.locator("[data-testid=commands]").count() == 0
    patrol.assert_clean()


async def test_commands_room_reads_in_english(world: World, browser: Browser) -> None:
    command = await ask(world, "desk", "gas_meter-1", "valve_close")
    watched = await open_page(await new_context(browser), world, "admin", "?theme=light&lang=en")
    page = watched.page
    await page.goto(f"{world.url}/commands?community={world.community.id}&lang=en")
    await says(page, "[data-testid=waiting] h2", "Waiting for you: 1")
    await says(page, f"[data-waits='{command}']", "no gas")
    await looked_at(page, "commands-english", (DESK, PHONE))
    watched.assert_clean()
