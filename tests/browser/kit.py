"""The whole product for a browser: real services around a small community, and a Chromium that is watched."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import httpx
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from playwright.async_api import Browser, BrowserContext, Page, Playwright, ViewportSize

from services.alerts.main import run as run_alerts
from services.alerts.settings import AlertSettings
from services.domain.registry import Community
from tests.api_server import KEY
from tests.browser.waiting import until
from tests.conftest import Mqtt
from tests.factory import PASSWORD, put_community, secret_of, small_community
from tests.ingest_kit import ingest

REPOSITORY = Path(__file__).resolve().parents[2]
COCKPIT = REPOSITORY / "services" / "api" / "cockpit"
BROWSERS = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def chromium_path() -> str:
    """Where Chromium is: the variable CHROMIUM, else where Debian puts it. A test without one fails and says so."""
    for path in (os.environ.get("CHROMIUM", ""), *BROWSERS):
        if path and Path(path).is_file():
            return path
    raise AssertionError(
        "the browser tests need Chromium and found none. Install it (sudo apt-get install -y chromium), "
        "or name one: CHROMIUM=/path/to/chromium"
    )


async def launch(playwright: Playwright) -> Browser:
    return await playwright.chromium.launch(executable_path=chromium_path(), args=list(FLAGS))


class ApiProcess:
    """The API as a process of its own, so that it can be frozen and killed. It keeps its port when started again."""

    def __init__(self, database_url: str, log: Path, **environment: str) -> None:
        self._environment = {
            **os.environ,
            "LINHUB_DATABASE_URL": database_url,
            "LINHUB_SECRET_KEY": KEY,
            "LINHUB_COCKPIT_DIR": str(COCKPIT / "dist"),
            "LINHUB_EVIDENCE_URL": (log.parent / "evidence").as_uri(),
            "LINHUB_EVIDENCE_RESERVE_BYTES": "0",
            **environment,
        }
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        seen = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "services.api.main",
                cwd=REPOSITORY, stdout=log, stderr=log,
                env={**self._environment, "LINHUB_HTTP_PORT": str(self.port)},
            )  # fmt: skip

        async def ready() -> int:
            assert self._process is not None and self._process.returncode is None, self._log.read_text()
            for line in self._log.read_bytes()[seen:].splitlines():
                if b'"api_ready"' in line:
                    return int(json.loads(line)["port"])
            return 0

        self.port = await until(ready, 120)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    async def kill(self) -> None:
        self._signal(signal.SIGKILL)
        assert self._process is not None
        await self._process.wait()

    async def ensure(self) -> None:
        """Running and thawed, whatever the test before left behind."""
        if self._process is None or self._process.returncode is not None:
            await self.start()
        self.thaw()

    async def stop(self) -> None:
        if self._process is None or self._process.returncode is not None:
            return
        self.thaw()
        self._signal(signal.SIGTERM)
        await asyncio.wait_for(self._process.wait(), 90)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@dataclass(frozen=True, slots=True)
class World:
    """A community with everything running that a person at a screen needs."""

    community: Community
    api: ApiProcess
    mqtt: Mqtt
    database_url: str

    @property
    def url(self) -> str:
        return self.api.url

    async def publish(self, device: str, channel: str, payload: dict[str, Any]) -> None:
        """As the device itself: its own login, QoS 1, on its own topic."""
        await asyncio.to_thread(self._publish, device, channel, json.dumps(payload))

    def _publish(self, device: str, channel: str, payload: str) -> None:
        self.mqtt.admit({device: secret_of(device)})
        client = Client(CallbackAPIVersion.VERSION2, device)
        client.username_pw_set(device, secret_of(device))
        client.connect(self.mqtt.host, self.mqtt.device_port)
        client.loop_start()
        try:
            info = client.publish(f"sc/{self.community.id}/{device}/up/{channel}", payload, qos=1)
            info.wait_for_publish(60)
            assert info.is_published()
        finally:
            client.disconnect()
            client.loop_stop()

    @asynccontextmanager
    async def http(self, username: str) -> AsyncIterator[httpx.AsyncClient]:
        """The API as this person, by bearer token."""
        async with httpx.AsyncClient(base_url=f"{self.url}/api/v1", trust_env=False, timeout=180) as http:
            answer = await http.post("/auth/login", json={"username": username, "password": PASSWORD})
            assert answer.status_code == 200, answer.text
            http.cookies.clear()
            http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
            yield http

    async def get(self, http: httpx.AsyncClient, path: str) -> Any:
        answer = await http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()


@asynccontextmanager
async def _alerts(database_url: str, mqtt: Mqtt) -> AsyncIterator[None]:
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    # Receivers of city events listen on this machine.
    settings = AlertSettings(
        database_url=database_url, mqtt_url=mqtt.account_url("svc-alerts"), city_networks="127.0.0.1/32"
    )
    task = asyncio.create_task(run_alerts(settings, stop, ready.set_result))
    try:
        await asyncio.wait({task, ready}, timeout=90, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, 90)


_STEP_ASIDE = """
UPDATE app_user SET community_id = NULL, grid_id = NULL, household_id = NULL WHERE community_id IS NOT NULL
"""
"""User names are global: those who served the community of the test before are free for the next one."""


@dataclass(frozen=True, slots=True)
class Product:
    """Everything that runs, for one community after the other."""

    api: ApiProcess
    mqtt: Mqtt
    database_url: str

    async def community(self) -> World:
        """A new small one, known to all services."""
        community = small_community(f"web{uuid4().hex[:8]}")
        connection = await asyncpg.connect(self.database_url)
        try:
            await connection.execute(_STEP_ASIDE)
        finally:
            await connection.close()
        await put_community(self.database_url, community)
        return World(community, self.api, self.mqtt, self.database_url)


@asynccontextmanager
async def living_product(database_url: str, mqtt: Mqtt, folder: Path, **api: str) -> AsyncIterator[Product]:
    """Ingest and alerts in this process, the API in one of its own."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(ingest(database_url, mqtt.url))
        await stack.enter_async_context(_alerts(database_url, mqtt))
        process = ApiProcess(database_url, folder / "api.log", **api)
        stack.push_async_callback(process.stop)
        await process.start()
        yield Product(process, mqtt, database_url)


@dataclass
class Watched:
    """A page with what it asked for and what it complained about."""

    page: Page
    origin: str
    strayed: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on(
            "console",
            lambda message: self.complaints.append(message.text) if message.type in ("error", "warning") else None,
        )

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if f"{parts.scheme}://{parts.netloc}" != self.origin and parts.scheme not in ("data", "blob"):
            self.strayed.append(url)

    def assert_clean(self) -> None:
        """Every request stayed on the origin; nothing was complained of on the console."""
        assert not self.strayed, "\n".join(self.strayed)
        assert not self.complaints, "\n".join(self.complaints)


EVERYWHERE = frozenset({"admin", "street"})
"""The accounts that serve every community, or every one of a street, and so have none of their own."""


async def open_page(context: BrowserContext, world: World, username: str, query: str = "") -> Watched:
    """Logged in through the login page, and live.

    Who belongs to no community of their own would come to the first there is: their page is told of this one.
    """
    watched = Watched(await context.new_page(), world.url)
    page = watched.page
    if username in EVERYWHERE and "community=" not in query:
        query = f"{query or '?'}{'&' if query else ''}community={world.community.id}"
    await page.goto(f"{world.url}/login{query}")
    await page.fill("[name=username]", username)
    await page.fill("[name=password]", PASSWORD)
    await page.click("button[type=submit]")
    await page.wait_for_selector("[data-testid=cockpit][data-status=live]")
    return watched


async def kpis_equal(page: Page, world: World) -> None:
    """The page comes to show the figures that the API answers with at that moment: its own choice of them."""
    async with world.http("desk") as http:

        async def same() -> bool:
            items = (await world.get(http, f"/communities/{world.community.id}/kpis"))["items"]
            answered = {kpi["name"]: kpi["value"] for kpi in items}
            shown = await page.eval_on_selector_all(
                "[data-kpi]", "(items) => items.map((item) => [item.dataset.kpi, item.dataset.value ?? null])"
            )
            told = {name: None if value is None else float(value) for name, value in shown}
            return bool(told) and told == {name: answered.get(name, math.nan) for name in told}

        await until(same)


async def new_context(browser: Browser, size: tuple[int, int] = (1366, 768)) -> BrowserContext:
    phone = size[0] < 720
    context = await browser.new_context(
        viewport=ViewportSize(width=size[0], height=size[1]),
        device_scale_factor=2 if phone else 1,
        has_touch=phone,
        reduced_motion="reduce",
    )
    # A loaded machine is no fault of the page.
    context.set_default_timeout(180_000)
    return context
