"""How soon two hundred screens are back after the API was away: all behind one address, all by the page's own code.

The screens are the page's own `Link` (its back-off, its jitter, its joining), two hundred times in one Node.js process
(services/api/cockpit/tests/load/screens.ts). The API is killed and stays away until every screen waits its longest,
so that as many as can come at once do. Each then has to renew its login, as after an outage longer than an access token
lives, takes a snapshot, opens its stream, and asks for its tiles.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psutil

from bench.page_system import Say, lived_in
from bench.servers import BenchServers
from bench.system import Service, free_port, service
from deploy.web import COCKPIT, Cockpit, find_node

SCREENS = 200
_ROUTES = ("/api/v1/auth/refresh", "/snapshot", "/stream")
"""What a screen needs before it is live."""
_PIP = [sys.executable, "-m", "pip"]


@dataclass(frozen=True, slots=True)
class Return:
    screens: int
    away_s: float
    p50_s: float
    p99_s: float
    all_s: float
    """From the API's word that it is ready to the first word on the last screen's stream."""
    busiest_second: int
    """So many of them came back in one second."""
    refused: int
    """Answers to renewals, snapshots and streams that were neither a success nor `not_yet`."""
    not_yet: int
    """503 from an API that has begun to listen and does not know its database yet."""
    peak_core_percent: float
    """Of one core, over half a second."""


async def measure(servers: BenchServers, *, screens: int, away_s: float, say: Say) -> Return:
    port, key = free_port(), secrets.token_hex(32)
    settings = {"LINHUB_HTTP_PORT": str(port), "LINHUB_SECRET_KEY": key, "LINHUB_LOG_LEVEL": "INFO"}
    with tempfile.TemporaryDirectory(prefix="linhub-bench-") as folder, ExitStack() as running:
        program = bundled(Path(folder))
        async with lived_in(servers, say) as (system, password):
            settings["LINHUB_DATABASE_URL"] = system.url
            first = running.enter_context(service("api", settings))
            await _ready(first, port)
            say(f"{screens} screens log in")
            cookies = await _logins(port, password, screens)
            node = await asyncio.create_subprocess_exec(
                *program, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 24
            )
            try:
                asked = {"port": port, "community": system.community.id, "cookies": cookies}
                await _tell(node, json.dumps(asked))
                await _told(node)
                await asyncio.sleep(5)  # until their tiles have come
                first.process.kill()
                say(f"the API is away for {away_s:.0f} s")
                await asyncio.sleep(away_s)
                return await _returned(node, running, settings, screens, away_s)
            finally:
                node.terminate()
                await node.wait()


async def _returned(
    node: asyncio.subprocess.Process, running: ExitStack, settings: dict[str, str], screens: int, away_s: float
) -> Return:
    await _tell(node, "how")
    await _told(node)
    api = running.enter_context(service("api", settings))
    cores: list[float] = []
    watching = asyncio.create_task(_cores(api, cores))
    found = await _told(node)
    watching.cancel()
    ready_ms = _ready_ms(api)
    back = sorted((at - ready_ms) / 1000 for at in found["at"])
    answers: dict[str, int] = found["answers"]
    statuses = Counter[str]()
    for name, count in answers.items():
        route, status = name.split()
        if route in _ROUTES:
            statuses[status] += count
    if statuses["200"] < 3 * screens:
        raise RuntimeError(f"{screens} screens cannot be back with these answers: {answers}")
    refused = sum(count for status, count in statuses.items() if status not in ("0", "200", "503"))
    seconds = [int(one) for one in back]
    return Return(
        screens, away_s, round(statistics.median(back), 2), round(back[int(len(back) * 0.99) - 1], 2),
        round(back[-1], 2), max(seconds.count(one) for one in set(seconds)), refused,
        statuses["503"], round(100 * max(cores), 1),
    )  # fmt: skip


def bundled(folder: Path) -> list[str]:
    """How to start the screens: what the page is made of, as one file for Node.js."""
    Cockpit(COCKPIT, _PIP).build()
    node = str(find_node(_PIP).folder / "node")
    made = folder / "screens.mjs"
    source = COCKPIT / "tests" / "load" / "screens.ts"
    rolldown = COCKPIT / "node_modules" / "rolldown" / "bin" / "cli.mjs"
    command = [node, str(rolldown), str(source), "--format", "esm", "--platform", "node", "--file", str(made)]
    subprocess.run(command, cwd=COCKPIT, check=True, stdout=subprocess.DEVNULL)
    return [node, str(made)]


async def _logins(port: int, password: str, count: int) -> list[str]:
    """A session of its own for each."""
    found = []
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/api/v1", trust_env=False, timeout=60) as http:
        for _ in range(count):
            http.cookies.clear()
            answer = await http.post("/auth/login", json={"username": "desk", "password": password})
            answer.raise_for_status()
            found.append("; ".join(f"{one.name}={one.value}" for one in http.cookies.jar))
    return found


async def _tell(node: asyncio.subprocess.Process, line: str) -> None:
    assert node.stdin is not None
    node.stdin.write(line.encode() + b"\n")
    await node.stdin.drain()


async def _told(node: asyncio.subprocess.Process) -> dict[str, Any]:
    assert node.stdout is not None
    line = await asyncio.wait_for(node.stdout.readline(), 300)
    if not line:
        raise RuntimeError("the screens ended; their own words are above")
    found: dict[str, Any] = json.loads(line)
    if "refused" in found:
        raise RuntimeError(f"screen {found['screen']} was refused for good: {found['refused']}")
    return found


async def _ready(api: Service, port: int) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
        for _ in range(1200):
            api.check()
            try:
                if (await http.get("/health/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)
    raise RuntimeError(f"the API did not get ready:\n{api.log()}")


def _ready_ms(api: Service) -> float:
    """When it said that it was ready, epoch ms."""
    for line in api.log_file.read_text().splitlines():
        if '"api_ready"' in line:
            return datetime.fromisoformat(json.loads(line)["at"]).timestamp() * 1000
    raise RuntimeError(f"the API did not say that it was ready:\n{api.log()}")


async def _cores(api: Service, found: list[float]) -> None:
    process, every_s = psutil.Process(api.process.pid), 0.5
    before, began = process.cpu_times(), time.monotonic()
    while True:
        await asyncio.sleep(every_s)
        now, at = process.cpu_times(), time.monotonic()
        found.append((now.user + now.system - before.user - before.system) / (at - began))
        before, began = now, at
