"""The room of city platforms in a real browser: a receiver that is told, refused, away and back, and who may what."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

from playwright.async_api import Browser, Page
from standardwebhooks import Webhook

from tests.access_kit import service
from tests.api_server import connect
from tests.browser.kit import Watched, World, new_context, open_page
from tests.browser.room_kit import DESK, PHONE, confirmed, forgive, forgive_silence, gone, looked_at
from tests.browser.waiting import counted, says
from tests.city_kit import append, order_data, receiver, status, subscribe

WALL = (1920, 1080)
PAGE = "[data-testid=subscription]"


async def room(browser: Browser, world: World, username: str = "admin", part: str = "", query: str = "") -> Watched:
    watched = await open_page(await new_context(browser, DESK), world, username, f"?theme=dark&lang=zh{query}")
    await watched.page.goto(f"{world.url}/city{part}?community={world.community.id}{query}")
    await watched.page.wait_for_selector("[data-testid=city]")
    return watched


async def told(world: World, count: int) -> list[int]:
    """So many events of an order; their numbers."""
    connection = await connect(world.database_url)
    try:
        one = world.community.id
        found = [await append(connection, "order.dispatch", order_data(version=n), one) for n in range(1, count + 1)]
        await connection.execute("SELECT pg_notify('outbox', $1)", str(found[-1]))
        return found
    finally:
        await connection.close()


async def none_yet(world: World) -> None:
    """An administrator of everything sees those of the tests before, too."""
    connection = await connect(world.database_url)
    await connection.execute("DELETE FROM city_subscription")
    await connection.close()


async def by_keyboard(page: Page, selector: str) -> None:
    await page.focus(selector)
    await page.keyboard.press("Enter")


async def test_city_room_subscribes_tests_rotates_pauses_and_deletes(world: World, browser: Browser) -> None:
    await none_yet(world)
    async with world.http("admin") as admin, receiver() as hook:
        account = await service(admin, community_id=world.community.id)
        watched = await room(browser, world)
        page = watched.page
        await says(page, "[data-testid=city]", "还没有平台订阅")
        await looked_at(page, "city-empty", (DESK, PHONE))
        await by_keyboard(page, "[data-testid=city-new]")
        form = page.locator("[data-testid=city-form]")
        await counted(page, "[data-way]", 2, 9)
        ways = (await admin.get("/city/schemas")).json()["ways"]
        assert [await one.get_attribute("data-way") for one in await page.locator("[data-way]").all()] == ways
        await form.locator("[name=account]").select_option(account)
        await form.locator("[name=name]").fill("区城运中心")
        # What is no address is refused where it was typed, in words; what is suspicious is doubted before.
        await form.locator("[name=url]").fill("http://10.1.2.3/hook")
        await says(page, "[data-testid=url-doubt]", "LINHUB_CITY_NETWORKS")
        await form.locator("[name=url]").fill("https://user:geheim@example.cn/")
        await page.click("[data-testid=city-save]")
        await says(page, "[data-testid=city-form] [role=alert]", "用户名或口令")
        await form.locator("[name=url]").fill(hook.url)
        await form.locator("[name=everything]").uncheck()
        assert await page.is_disabled("[data-testid=city-save]"), "a subscription to nothing"
        await form.locator("[name=family][value='order.*']").check()
        await form.locator("[name=class][value=health]").check()
        assert await page.is_disabled("[data-testid=city-save]"), "health data without a reason"
        await form.locator("[name=reason]").fill("联动处置协议 2026-11")
        await looked_at(page, "city-form", (DESK, PHONE))
        await page.click("[data-testid=city-save]")
        await says(page, "[data-testid=confirm]", "个人健康数据")
        await confirmed(page)

        # Its secret is there once, and what arrives is signed by it.
        await page.wait_for_selector("[data-testid=city-once]")
        secret = await page.inner_text("[data-testid=city-once] [data-testid=secret-value]")
        assert secret.startswith("whsec_")
        await says(page, "[data-testid=city-facts]", "工单（全部）")
        await says(page, "[data-class=health]", "仅在本人同意期间发送")
        await page.wait_for_selector("[data-key]")
        await looked_at(page, "city-made", (DESK, PHONE))
        await by_keyboard(page, "[data-testid=city-test]")
        await page.wait_for_selector("[data-outcome=ok]")
        await says(page, "[data-testid=test-outcome]", "对方回答 204")
        (test,) = await hook.until(lambda heard: len(heard) == 1)
        Webhook(secret).verify(test.body, test.headers)
        seqs = await told(world, 3)
        heard = await hook.until(lambda heard: len(heard) == 4)
        assert [one.seq for one in heard[1:]] == seqs
        await says(page, "[data-testid=city-progress]", "共 3 条")
        await counted(page, "[data-testid=city-log] tbody tr", 4)
        await says(page, "[data-testid=city-log]", "工单派发")

        # A new key beside the old one: both sign until the old one ends, which is said.
        await page.click("[data-testid=city-once] button:has-text('我已保存')")
        await gone(page.locator("[data-testid=city-once]"))
        await page.click("[data-testid=key-new]")
        await page.select_option("[name=overlap]", "24")
        await page.click("[data-testid=key-form] [type=submit]")
        fresh = await page.inner_text("[data-testid=key-once] [data-testid=secret-value]")
        await counted(page, "[data-key]", 2)
        await says(page, "[data-testid=city-keys]", "有效至")
        await looked_at(page, "city-keys", (DESK, PHONE))
        await told(world, 1)
        both = (await hook.until(lambda heard: len(heard) == 5))[-1]
        for key in (secret, fresh):
            Webhook(key).verify(both.body, both.headers)

        # Sent again by number; paused, somebody faster, resumed, deleted.
        await says(page, "[data-testid=city-progress]", "共 4 条")
        await page.fill("[name=first]", str(seqs[0]))
        await page.fill("[name=last]", str(seqs[1]))
        await page.click("[data-testid=replay] [type=submit]")
        again = await hook.until(lambda heard: len(heard) == 7)
        assert [one.seq for one in again[-2:]] == seqs[:2]
        await says(page, "[data-testid=city-log]", "重放")
        await page.fill("[name=last]", str(seqs[-1] + 100_000))
        await page.click("[data-testid=replay] [type=submit]")
        await says(page, "[data-testid=city-dead] [role=alert]", "超出")
        await page.click("[data-testid=city-pause]")
        await says(page, PAGE, "已暂停")
        await page.click("[data-testid=city-edit]")
        id = page.url.split("/city/")[1].split("?")[0]
        seen = (await admin.get(f"/city/subscriptions/{id}")).json()
        names = ("url", "format", "types", "classes", "classes_reason", "mark", "state")
        body = {"name": "市城运中心", **{name: seen[name] for name in names}}
        changed = await admin.put(f"/city/subscriptions/{id}", json=body, headers={"If-Match": f'"{seen["version"]}"'})
        assert changed.status_code == 200, changed.text
        await form.locator("[name=name]").fill("区中心")
        await page.click("[data-testid=city-save]")
        await says(page, "[data-testid=city-conflict]", "他人已先修改")
        assert await form.locator("[name=name]").input_value() == "区中心"
        await page.click("[data-testid=city-save]")
        await says(page, f"{PAGE} h2", "区中心")
        assert (await admin.get(f"/city/subscriptions/{id}")).json()["state"] == "paused", "a change resumed it"
        await page.click("[data-testid=city-resume]")
        await page.wait_for_selector("[data-testid=city-pause]")
        await page.click("[data-testid=city-remove]")
        await confirmed(page)
        await says(page, "[data-testid=city]", "还没有平台订阅")
        assert (await admin.get("/city/subscriptions")).json()["items"] == []
        forgive(watched, 409, 412, 422)
        watched.assert_clean()


async def test_city_room_shows_what_fails_and_what_was_given_up(world: World, browser: Browser) -> None:
    """One receiver refuses, another address is nobody's to connect to; each says why."""
    await none_yet(world)
    async with world.http("admin") as admin, receiver(answering=status(503)) as hook:
        account = await service(admin, community_id=world.community.id)
        (given_up,) = await told(world, 1)
        common: dict[str, Any] = {"account": account, "way": "webhook", "types": ["order.*"]}
        refusing = (await subscribe(admin, name="拒收的平台", url=hook.url, **common))["subscription"]
        inside = (await subscribe(admin, name="内网的平台", url="https://10.1.2.3/hook", **common))["subscription"]
        pulled = (await subscribe(admin, account, name="拉取的平台", mark="Exercise"))["subscription"]
        (seq,) = await told(world, 1)
        connection = await connect(world.database_url)
        await connection.execute(
            "INSERT INTO city_dead_letter (subscription_id, seq, upto, type, at, why, attempts) "
            "VALUES ($1, $2, $2, 'order.dispatch', now(), 'expired: 503', 40)",
            UUID(refusing["id"]), given_up,
        )  # fmt: skip
        await connection.close()
        watched = await room(browser, world)
        page = watched.page
        await counted(page, "tbody tr[data-row]", 3)
        await says(page, f"[data-row='{refusing['id']}']", "投递失败")
        await says(page, f"[data-row='{refusing['id']}']", "对方回答 503")
        await says(page, f"[data-row='{refusing['id']}']", "死信 1")
        await says(page, f"[data-row='{inside['id']}']", "地址被拒绝：内网地址")
        await says(page, f"[data-row='{pulled['id']}']", "由对方拉取")
        await says(page, f"[data-row='{pulled['id']}']", "演练")
        await says(page, f"[data-row='{refusing['id']}']", "最早的是")
        await looked_at(page, "city-list", (DESK, PHONE, WALL))

        await page.click(f"[data-open='{inside['id']}']")
        await page.click("[data-testid=city-test]")
        await page.wait_for_selector("[data-outcome=bad]")
        await says(page, "[data-testid=test-outcome]", "地址被拒绝：内网地址")
        await page.click("[data-testid=city-back]")
        await page.click(f"[data-open='{refusing['id']}']")
        letter = f"[data-letter='{given_up}']"
        await says(page, letter, "三天未送达（对方回答 503）")
        await page.check("[name=failures]")
        await says(page, "[data-testid=city-log] tbody", "对方回答 503")
        await looked_at(page, "city-failing", (DESK, PHONE, WALL))
        # The receiver is back: it catches up by itself, and what was given up is sent again when somebody says so.
        hook.answering = status(204)
        async with world.http("admin") as http:
            seen = (await http.get(f"/city/subscriptions/{refusing['id']}")).json()
            body = {name: seen[name] for name in ("name", "url", "types")}
            path = f"/city/subscriptions/{refusing['id']}"
            for version, state in ((seen["version"], "paused"), (seen["version"] + 1, "active")):
                put = await http.put(path, json={**body, "state": state}, headers={"If-Match": f'"{version}"'})
                assert put.status_code == 200, put.text
        await says(page, "[data-testid=city-failure]", "没有失败")
        await says(page, "[data-testid=city-progress]", "没有落后")
        await page.click(f"{letter} [data-testid=letter-replay]")
        await gone(page.locator(letter))
        await page.check("[name=all]")
        await says(page, letter, "已重放")
        heard = [int(json.loads(one.body)["id"]) for one in hook.heard]
        assert heard.count(seq) >= 2, "refused, and taken once the receiver was back"
        assert heard[-1] == given_up and heard.count(given_up) == 1, "sent when somebody said so, and not before"
        watched.assert_clean()


async def test_city_room_for_those_who_may_not_change_it(world: World, browser: Browser) -> None:
    await none_yet(world)
    async with world.http("admin") as admin:
        made = await admin.post(
            "/city/subscriptions",
            json={"account_id": await service(admin, community_id=world.community.id), "name": "别人的", "way": "pull"},
            headers={"Idempotency-Key": uuid4().hex},
        )
        assert made.status_code == 201, made.text
    street = await room(browser, world, "street")
    await says(street.page, "[data-testid=city]", "管理员还没有为您的账号建订阅")
    await says(street.page, "[data-testid=city]", "订阅由管理员新建和修改")
    assert await street.page.locator("[data-testid=city-new]").count() == 0
    forgive_silence(street)
    street.assert_clean()
    desk = await open_page(await new_context(browser, DESK), world, "desk", "?theme=light&lang=zh")
    await desk.page.goto(f"{world.url}/city")
    await desk.page.get_by_text("「城市平台」供").wait_for()
    assert await desk.page.locator("[data-testid=city]").count() == 0
    desk.assert_clean()
    english = await room(browser, world, query="&lang=en")
    await english.page.goto(f"{world.url}/city?community={world.community.id}&lang=en&theme=light")
    await counted(english.page, "tbody tr[data-row]", 1)
    await says(english.page, "[data-testid=city]", "keeps its own place")
    await looked_at(english.page, "city-english", (DESK, PHONE))
    english.assert_clean()
