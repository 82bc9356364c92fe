"""The room of people as it is seen: every state in Chinese and English, at a desk and on a phone, dark and light."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Browser, Page, Route

from tests.browser.kit import Watched, World, new_context, open_page
from tests.browser.room_kit import DESK, PHONE, forgive, gone, looked_at
from tests.browser.test_people_room import prepared, reveal, rows
from tests.browser.waiting import expect

SIZES = (DESK, PHONE)
WORDS = {
    "zh": {"nobody": "没有符合条件的人", "cover": "恢复掩码", "refused": "数据库"},
    "en": {"nobody": "Nobody fits", "cover": "Mask again", "refused": "database"},
}


async def _room(browser: Browser, world: World, lang: str) -> Watched:
    watched = await open_page(await new_context(browser), world, "admin", f"?theme=dark&lang={lang}")
    await watched.page.goto(f"{world.url}/people?community={world.community.id}&lang={lang}")
    await watched.page.wait_for_selector("[data-person]")
    return watched


async def _contacts(world: World, elder: str) -> None:
    for n, (name, relation, phone) in enumerate(
        (("欧阳娜娜", "女儿", "13800138000"), ("Alexandra Featherstonehaugh", "daughter-in-law", "+442079460958")), 1
    ):
        await rows(
            world,
            "WITH made AS (INSERT INTO person_contact"
            " (id, community_id, person_id, name, relation, position, created_by)"
            " VALUES (gen_random_uuid(), $1, $2, $3, $4, $5, 'desk') RETURNING id)"
            " INSERT INTO contact_channel (id, contact_id, sort, address, shown, failing_since)"
            " SELECT gen_random_uuid(), id, 'phone', $6, left($6, 3) || '****' || right($6, 2),"
            " CASE WHEN $5 > 1 THEN now() END FROM made",
            world.community.id, elder, name, relation, n, phone,
        )  # fmt: skip


@pytest.mark.parametrize("lang", ["zh", "en"])
async def test_people_room_looks_right_in_every_state_of_its_list(world: World, browser: Browser, lang: str) -> None:
    await prepared(world)
    watched = await _room(browser, world, lang)
    page = watched.page
    await looked_at(page, f"people-{lang}-list", SIZES)
    await page.fill("[data-testid=people-find]", "没有这个人")
    await page.get_by_text(WORDS[lang]["nobody"]).wait_for()
    await looked_at(page, f"people-{lang}-empty", SIZES)
    await page.fill("[data-testid=people-find]", "")
    await page.wait_for_selector("[data-person]")
    await page.click("[data-testid=people-tags]")
    await looked_at(page, f"people-{lang}-tags", SIZES)
    await page.keyboard.press("Escape")
    for part in ("new", "sheet", "erasures"):
        await page.click(f"[data-testid=people-{part}]")
        await page.wait_for_selector(".drawer, dialog")
        await looked_at(page, f"people-{lang}-{part}", SIZES)
        await page.keyboard.press("Escape")
        await gone(page.locator(".drawer, dialog"))
    watched.assert_clean()


@pytest.mark.parametrize("lang", ["zh", "en"])
async def test_people_room_looks_right_while_it_loads_and_when_it_is_refused(
    world: World, browser: Browser, lang: str
) -> None:
    await prepared(world)
    watched = await _room(browser, world, lang)
    page = watched.page
    held = asyncio.Event()

    async def hold(route: Route) -> None:
        await held.wait()
        problem = {
            "title": "Service Unavailable",
            "detail": "数据库暂不可用，请稍后再试 · the database is away; try again",
        }
        await route.fulfill(status=503, json=problem)

    await page.route("**/people/search", hold)
    # The page gives up by itself after 20 s; looking at it may take longer.
    await page.add_init_script("AbortSignal.timeout = () => new AbortController().signal")
    await page.reload()
    await page.wait_for_selector(".skeleton")
    await looked_at(page, f"people-{lang}-loading", SIZES)
    held.set()
    await expect(page.locator("[data-testid=people] [role=alert]")).to_contain_text(WORDS[lang]["refused"])
    await looked_at(page, f"people-{lang}-error", SIZES)
    await expect(page.locator("[data-testid=people] table"), "nobody is there, it says").to_have_count(0)
    await page.unroute("**/people/search")
    await page.click("[data-testid=people-again]")
    await page.wait_for_selector("[data-person]")
    await expect(page.locator("[data-testid=people] [role=alert]")).to_have_count(0)
    forgive(watched, 503)
    watched.assert_clean()


@pytest.mark.parametrize("lang", ["zh", "en"])
async def test_people_room_looks_right_in_every_state_of_one_person(world: World, browser: Browser, lang: str) -> None:
    elder = await prepared(world)
    await _contacts(world, elder)
    watched = await _room(browser, world, lang)
    page = watched.page
    await page.click(f"[data-person='{elder}']")
    await page.wait_for_selector("[data-testid=person-facts]")
    await page.wait_for_selector("[data-contact]")
    await page.wait_for_selector("[data-consent]")
    await looked_at(page, f"person-{lang}-masked", SIZES)
    await _down(page)
    await looked_at(page, f"person-{lang}-masked-below", SIZES)
    await reveal(page, "export")
    await page.wait_for_selector("[data-contact] a[href^='tel:']")
    await looked_at(page, f"person-{lang}-whole", SIZES)
    await page.locator("[data-testid=contacts]").scroll_into_view_if_needed()
    await looked_at(page, f"person-{lang}-contacts", SIZES)
    await page.click("[data-testid=contact-add]")
    await page.fill("[name=contact-name]", "李强")
    await page.fill("[name=contact-relation]", "儿子")
    await page.fill("[name=contact-phone]", "1380013800")
    await page.click("[data-testid=contact-save]")
    await page.wait_for_selector("[data-testid=contact-trouble]")
    await looked_at(page, f"person-{lang}-contact-refused", SIZES)
    await page.keyboard.press("Escape")
    await gone(page.locator("dialog"))
    await page.locator("[data-consent=vitals] button").click()
    await page.wait_for_selector("[data-testid=withdraw-words]")
    await looked_at(page, f"person-{lang}-withdraw", SIZES)
    await page.keyboard.press("Escape")
    await gone(page.locator("dialog"))
    await page.locator("[data-testid=rights] summary").click()
    await page.locator("[data-testid=erase-ask] button").click()
    await page.wait_for_selector("[data-testid=erased-counts]")
    await _down(page)
    await looked_at(page, f"person-{lang}-erasing", SIZES)
    await page.click("[data-testid=person-edit]")
    await page.locator("[data-testid=person-form] summary").first.click()
    await rows(world, "UPDATE person SET birth_year = 1942, phone = '13700000000' WHERE id = $1", elder)
    await page.fill("[name=person-phone]", "13900005678")
    await page.click("[data-testid=person-save]")
    await page.wait_for_selector("[data-testid=person-trouble]")
    await looked_at(page, f"person-{lang}-conflict", SIZES)
    await _down(page)
    await looked_at(page, f"person-{lang}-conflict-below", SIZES)
    forgive(watched, 412, 422)
    watched.assert_clean()


async def _down(page: Page) -> None:
    await page.evaluate("document.querySelector('.drawer .content').scrollTo(0, 1e6)")
