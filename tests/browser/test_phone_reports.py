"""What residents do on a phone: report with a photo, follow, rate; without a network too; and how the page looks."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from playwright.async_api import Browser

from tests.browser.kit import COCKPIT, World, new_context
from tests.browser.phone_kit import fresh, log_in, look, moved, open_order, staff
from tests.browser.waiting import until
from tests.ingest_kit import now_ms

PHONE_BUDGET_BYTES = 110 * 1000


async def test_phone_carries_a_report_from_photo_to_rating(world: World, browser: Browser, tmp_path: Path) -> None:
    """Without a login: pin, photo, followed on this phone, done by the team, rated."""
    phone = await fresh(browser, world, tmp_path)
    page = phone.page
    await page.goto(f"{world.url}/m/report?community={world.community.id}")
    await page.tap("[data-category=street_lamp]")
    await page.tap("[data-testid=plan]")
    await page.wait_for_selector("[data-testid=pin]")
    await page.fill("[name=text]", "晚上不亮")
    await page.set_input_files("[data-testid=shots]", [phone.shot])
    await page.wait_for_selector(".shots img")
    await look(page)
    await page.tap("button[type=submit]")
    await page.wait_for_selector("[data-testid=follow][data-stage]")
    await page.wait_for_selector("[data-testid=own-photos] img")
    assert page.url.startswith(f"{world.url}/m/r/")
    report = page.url.rsplit("/", 1)[1]
    await page.fill("[name=information]", "还是不亮")
    await page.tap("[data-testid=add] button")
    await page.wait_for_selector("[data-testid=said]")
    await look(page)

    async with world.http("desk") as http:
        listed = await world.get(http, f"/communities/{world.community.id}/reports?which=all")
        (row,) = listed["items"]
        assert row["id"] == report and len(row["photos"]) == 1 and row["notes"] == ["还是不亮"]
        if row["order_state"] == "created":
            filed = await http.post(
                f"/reports/{report}/file", json={"version": row["order_version"]}, headers={"Idempotency-Key": "file"}
            )
            assert filed.status_code == 200, filed.text
    for move, more in (("accept", {}), ("arrive", {"place": "路口"}), ("resolve", {"note": "已换灯"})):
        await moved(world, row["order_id"], "desk", move, **more)
    await page.reload()
    await page.wait_for_selector("[data-testid=rating]")
    assert await page.locator("[data-step=resolved]").count() == 1
    await look(page)
    await page.tap("[data-rate='5']")
    await page.fill("[name=comment]", "很快")
    await page.tap("[data-testid=rating] button")
    await page.wait_for_selector("[data-testid=rated][data-rating='5']")
    await page.goto(f"{world.url}/m/reports")
    await page.wait_for_selector(f"[data-report='{report}']")
    phone.watched.assert_clean()

    # The next one who comes by sees that it is told of; nobody else can read it.
    other = await fresh(browser, world, tmp_path)
    await other.page.goto(f"{world.url}/m/r/{report}")
    await other.page.wait_for_selector("[data-testid=complaint]")
    assert await other.page.locator("[data-testid=steps]").count() == 0
    for one in (phone, other):
        await one.context.close()


async def test_phone_keeps_a_report_until_there_is_a_network(world: World, browser: Browser, tmp_path: Path) -> None:
    """Sent once, even where the first answer is lost; the second who reports sees that somebody is on the way."""
    phone = await fresh(browser, world, tmp_path)
    page = phone.page
    await page.goto(f"{world.url}/m/report?community={world.community.id}")
    await page.wait_for_selector("[data-testid=plan]")
    await page.tap("[data-category=rubbish]")
    await page.select_option("[name=building]", f"{world.community.id}-b1")
    await phone.context.set_offline(True)
    await page.tap("button[type=submit]")
    await page.wait_for_selector("[data-testid=report-kept]")
    lost = []

    async def swallowed(route: object) -> None:
        lost.append(await route.fetch())  # type: ignore[attr-defined]
        await route.abort()  # type: ignore[attr-defined]

    # Of the context: whichever of the page and its service worker sends it.
    await phone.context.route("**/communities/*/reports", swallowed, times=1)
    await phone.context.set_offline(False)
    await page.wait_for_selector("[data-testid=follow][data-stage]")
    assert lost and lost[0].ok
    async with world.http("desk") as http:
        listed = await world.get(http, f"/communities/{world.community.id}/reports?which=all")
    assert len(listed["items"]) == 1

    second = await fresh(browser, world, tmp_path)
    await second.page.goto(f"{world.url}/m/report?community={world.community.id}")
    await second.page.tap("[data-category=rubbish]")
    await second.page.select_option("[name=building]", f"{world.community.id}-b1")
    told = second.page.locator("[data-testid=told]")
    await told.wait_for()
    assert "附近已有人上报" in await told.inner_text()
    for one in (phone, second):
        await one.context.close()


async def test_phone_fits_every_reader(world: World, browser: Browser, tmp_path: Path) -> None:
    """Light and dark, both languages, letters at 200 %: nothing overflows, thumbs hit, axe is content."""
    order = await open_order(
        world,
        severity="critical",
        building_id=f"{world.community.id}-b1",
        title="1号楼东侧消防通道被杂物与电动自行车堵塞",
    )
    sent = {"id": "air", "ts": now_ms(), "values": {"temperature": 21.5, "humidity": 55, "pm2_5": 33}}
    await world.publish(f"{world.community.id}-environment-1", "telemetry", sent)
    for theme, language in (("light", "zh"), ("dark", "en")):
        phone = await staff(browser, world, "patrol1", tmp_path, f"?theme={theme}&lang={language}")
        await phone.page.wait_for_selector(f"[data-order='{order['number']}']")
        await look(phone.page)
        await phone.order(order["number"])
        await phone.step("accept")
        await phone.page.wait_for_selector("[data-testid=plan]")
        await look(phone.page)
        await phone.context.close()
    resident = await fresh(browser, world, tmp_path)
    await log_in(resident, world, "resident1")
    await resident.page.wait_for_selector("[data-testid=public]")
    await look(resident.page)
    await resident.context.close()
    # Twice the letters on the same glass is half the glass: 195 px wide.
    context = await browser.new_context(viewport={"width": 195, "height": 422}, device_scale_factor=4, has_touch=True)
    context.set_default_timeout(180_000)
    page = await context.new_page()
    await page.goto(f"{world.url}/m/report?community={world.community.id}")
    await page.wait_for_selector("[data-testid=plan]")
    await look(page)
    await context.close()


async def test_phone_opens_on_a_slow_network_and_the_second_time_without_one(
    world: World, browser: Browser, tmp_path: Path
) -> None:
    """400 kbit/s with 400 ms of delay, as slow 3G is measured."""
    context = await new_context(browser, (390, 844))
    page = await context.new_page()
    wire = await context.new_cdp_session(page)
    slow = {"offline": False, "latency": 400, "downloadThroughput": 50_000, "uploadThroughput": 50_000}
    await wire.send("Network.emulateNetworkConditions", slow)
    await page.goto(f"{world.url}/m/", wait_until="commit")
    await page.wait_for_selector("[name=username]")
    paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
    first_ms = await until(lambda: page.evaluate(paint))
    # What has to be there before the first letter: at 50 kB/s, and with a slow machine's own time beside it.
    first_bytes = await page.evaluate(
        "first => performance.getEntries().filter((one) => one.responseEnd && one.responseEnd <= first)"
        ".reduce((sum, one) => sum + one.transferSize, 0)",
        first_ms,
    )
    print(f"\nfirst words after {first_ms:.0f} ms and {first_bytes:,} bytes")  # noqa: T201
    assert 0 < first_bytes < 300_000

    async def controlled() -> bool:
        return bool(await page.evaluate("navigator.serviceWorker.controller !== null"))

    await until(controlled)
    await context.set_offline(True)
    await page.reload()
    await page.wait_for_selector("[name=username]")
    manifest = await page.get_attribute("link[rel=manifest]", "href")
    assert manifest == "/m/manifest.webmanifest"
    await context.close()


@pytest.mark.usefixtures("built")
def test_phone_keeps_its_script_budget() -> None:
    """Every script that the page can load: what its worker keeps, and the worker."""
    worker = (COCKPIT / "dist" / "m" / "sw.js").read_text()
    scripts = [path for path in (COCKPIT / "dist" / "assets").glob("*.js") if f"/assets/{path.name}" in worker]
    assert len(scripts) >= 5 and not any("LineChart" in path.name for path in scripts)
    size = sum(len(gzip.compress(path.read_bytes(), 9)) for path in scripts) + len(gzip.compress(worker.encode(), 9))
    assert size <= PHONE_BUDGET_BYTES, f"{size} bytes of gzipped script"
