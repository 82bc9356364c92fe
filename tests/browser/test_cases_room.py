"""Cases from above in a real browser: the list, the order's panel with time limit, urging and photos, and returning."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from playwright.async_api import Browser

from tests import evidence_kit as kit
from tests.access_kit import key, service, with_key
from tests.browser.kit import World, new_context, open_page
from tests.browser.phone_kit import look, staff
from tests.browser.room_kit import DESK, PHONE, gone, looked_at
from tests.browser.test_people_room import accessible
from tests.browser.waiting import counted, says
from tests.integration.test_city_cases import act, move, opened

CASES = "[data-testid=order-cases]"


async def platform_key(world: World) -> str:
    async with world.http("admin") as admin:
        account = await service(admin, community_id=world.community.id)
        return str((await key(admin, account, scopes=["city_cases"]))["secret"])


async def photo(http: httpx.AsyncClient, order: str) -> str:
    answer = await http.post(
        f"/orders/{order}/evidence",
        params={"sort": "photo", "phase": "after"},
        files={"file": ("a.jpg", kit.jpeg(), "image/jpeg")},
        headers={"Idempotency-Key": uuid4().hex},
    )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


async def test_cases_room_lists_shows_gives_photos_and_returns(world: World, browser: Browser) -> None:
    home = world.community.id
    soon = (datetime.now(UTC) + timedelta(hours=5)).isoformat()
    async with with_key(world.url, await platform_key(world)) as above, world.http("desk") as desk:

        async def put(name: str, **more: Any) -> dict[str, Any]:
            return await opened(above, community_id=home, external_id=name, **{"due_at": soon, **more})

        lamp = await put("JJ-1")
        noise = await put("JJ-2", title="夜间施工噪声", system="city", due_at=None)
        late = await put("JJ-3", title="井盖松动", due_at=(datetime.now(UTC) - timedelta(hours=1)).isoformat())
        assert (await act(above, lamp, "urge", reason="市民再次来电")).status_code == 200
        taken = await photo(desk, lamp["id"])

        watched = await open_page(await new_context(browser, DESK), world, "desk", "?theme=dark&lang=zh")
        page = watched.page
        await page.click("[data-testid=rooms]")
        await page.click("[data-room='/cases']")
        await counted(page, "[data-testid=cases] tbody tr", 3)
        row = f"tr[data-row='{lamp['id']}']"
        await says(page, row, "待签收")
        await says(page, row, "12345")
        await says(page, row, "督办 1 次")
        await says(page, row, "还剩")
        await says(page, f"tr[data-row='{late['id']}']", "已超")
        await says(page, f"tr[data-row='{noise['id']}']", "待立案")
        await looked_at(page, "cases-list", (DESK, PHONE, (1920, 1080)))
        await page.check("[name=late]")
        await counted(page, "[data-testid=cases] tbody tr", 1)
        await page.uncheck("[name=late]")
        await page.select_option("[name=shown]", "returned")
        await says(page, "[data-testid=cases]", "没有上级交办的案件")
        await page.select_option("[name=shown]", "open")

        # The order's panel on the desk: whose it is, and each photo given by itself and taken back.
        await page.focus("[data-case='JJ-1']")
        await page.keyboard.press("Enter")
        await says(page, CASES, "JJ-1")
        await says(page, CASES, "督办 1 次")
        await says(page, "[data-testid=case-due]", "还剩")
        await page.click(f"{CASES} [data-photo='{taken}'] [data-give=give]")
        await says(page, f"{CASES} [data-photo='{taken}']", "对方可见")
        seen = (await above.get(f"/city/cases/{lamp['id']}")).json()
        assert [one["id"] for one in seen["photos"]] == [taken]
        await accessible(page, "cases-order")
        await page.click(f"{CASES} [data-photo='{taken}'] [data-give=take]")
        await page.wait_for_selector(f"{CASES} [data-photo='{taken}'] [data-give=give]")
        assert (await above.get(f"/city/cases/{lamp['id']}")).json()["photos"] == []

        # Returned with a reason, written for whoever reads it.
        await page.click("[data-testid=moves] [data-move=cancel]")
        await says(page, "[data-testid=read-above]", "取消即退回 平台")
        await accessible(page, "cases-return")
        await page.fill("[data-testid=moves] [name=reason]", "不属本社区管辖，请转邻街道")
        await page.click("[data-testid=moves] [type=submit]")
        await says(page, f"{CASES} [data-case-state]", "已退回")
        told = (await above.get(f"/city/cases/{lamp['id']}")).json()
        assert told["state"] == "returned" and told["steps"][-1]["reason"] == "不属本社区管辖，请转邻街道"

        # One that is withdrawn above says so here; a note that nobody above reads is asked for without a warning.
        assert (await act(above, noise, "withdraw", reason="撤诉")).status_code == 200
        await page.goto(f"{world.url}/?order={noise['id']}&lang=zh")
        await says(page, CASES, "撤单")
        await page.goto(f"{world.url}/?order={late['id']}&lang=zh")
        await says(page, CASES, "JJ-3")
        await page.click("[data-testid=moves] [data-move=note]")
        await page.wait_for_selector("[data-testid=moves] [name=note]")
        await gone(page.locator("[data-testid=read-above]"))
        watched.assert_clean()


async def test_phone_shows_whose_case_it_is_and_who_reads_what_is_written(
    world: World, browser: Browser, tmp_path: Path
) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=5)).isoformat()
    async with with_key(world.url, await platform_key(world)) as above, world.http("desk") as desk:
        case = await opened(above, community_id=world.community.id, external_id="JJ-7", due_at=soon)
        assert (await act(above, case, "urge", reason="市民再次来电")).status_code == 200
        await move(desk, case["id"], "dispatch", team="patrol")
    phone = await staff(browser, world, "patrol1", tmp_path)
    await phone.order(case["number"])
    await says(phone.page, f"{CASES} [data-case='JJ-7']", "12345")
    await says(phone.page, CASES, "对方时限")
    await says(phone.page, CASES, "督办")
    await gone(phone.page.locator("[data-testid=read-above]"))
    await look(phone.page)
    await phone.act("accept")
    await phone.act("arrive")
    await phone.act("photo_after")
    await phone.step("resolve")
    await says(phone.page, "[data-testid=read-above]", "会读到这段文字")
    await look(phone.page)
    await phone.page.click("[data-testid=more]")
    await phone.page.click(".sheet [data-move=pause]")
    await says(phone.page, "[data-asking=pause] [data-testid=read-above]", "会读到这段文字")
    phone.watched.assert_clean()
    await phone.context.close()


async def test_cases_room_is_the_desks(world: World, browser: Browser) -> None:
    patrol = await open_page(await new_context(browser), world, "patrol1", "?theme=light&lang=zh")
    await patrol.page.goto(f"{world.url}/cases")
    await patrol.page.get_by_text("「上级交办」供").wait_for()
    assert await patrol.page.locator("[data-testid=cases]").count() == 0
    patrol.assert_clean()
    desk = await open_page(await new_context(browser), world, "desk", "?theme=light&lang=en")
    await desk.page.goto(f"{world.url}/cases?lang=en")
    await says(desk.page, "[data-testid=cases]", "No case waits")
    await looked_at(desk.page, "cases-english", (DESK, PHONE))
    desk.assert_clean()
