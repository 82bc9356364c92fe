"""`linhub up`, `status`, `doctor` and `down` as people type them, with every real service."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from deploy.embedded import state
from deploy.embedded.processes import ProcessId
from deploy.embedded.service import health
from services.cli.home import database_url
from tests.api_data import raise_alert
from tests.conftest import REPOSITORY, ROOT, Mqtt, Servers

SERVICES = {"ingest", "alerts", "api", "identity"}
PATIENCE_S = 300


class Installation:
    """A home of its own, driven through the command line. The unpacked packages are the test run's."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        home.mkdir(mode=0o700)
        (home / "root").symlink_to(ROOT)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LINHUB_")}
        self.environment = {**clean, "LINHUB_HOME": str(home), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **environment}

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "services.cli.main", *arguments],
            cwd=REPOSITORY,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def json(self, *arguments: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self(*arguments, "--json").stdout)
        return told

    def ready(self) -> dict[str, Any]:
        """Its status once all is ready: each of these pages is to answer within two seconds."""
        found: dict[str, Any] = {}

        def all_of_it() -> bool:
            found.update(self.json("status"))
            return bool(found["ready"])

        wait_until(all_of_it)
        return found

    @property
    def processes(self) -> list[ProcessId]:
        return state.read(self.home).all_processes

    @property
    def launcher(self) -> ProcessId:
        found = state.read(self.home).launcher
        assert found is not None
        return found


Install = Callable[..., Installation]


@pytest.fixture
def install(tmp_path: Path, servers: Servers) -> Iterator[Install]:
    """`servers` has made the root that installations share."""
    made: list[Installation] = []

    def make(name: str = "home", **environment: str) -> Installation:
        made.append(Installation(tmp_path / name, **environment))
        return made[-1]

    yield make
    for installation in made:
        assert installation("down").returncode == 0


def wait_until(what: Callable[[], bool], timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, servers: Servers) -> Iterator[Installation]:
    """One installation for the tests that only look, or break what mends itself."""
    linhub = Installation(tmp_path_factory.mktemp("up") / "home")
    up = linhub("up", "--detach", "--ingest-workers", "2")
    assert up.returncode == 0, up.stdout + up.stderr
    yield linhub
    assert linhub("down").returncode == 0


def test_status_tells_what_runs(running: Installation) -> None:
    told = running.ready()
    assert set(told["services"]) == {*SERVICES, "ingest-1"}
    assert all(service["ready"] for service in told["services"].values())
    database = told["servers"]["database"]
    assert database["migrations"]["pending"] == []
    assert database["ledger"] == {"received": 0, "stored": 0, "duplicate": 0, "rejected": 0}
    workers = {worker["worker"]: worker["partitions"] for worker in database["ingest_workers"]}
    assert workers.keys() == {"ingest-0", "ingest-1"} and database["partitions_unowned"] == []
    assert sorted(slot for slots in workers.values() for slot in slots) == list(range(16))
    assert min(map(len, workers.values())) >= 7
    assert told["servers"]["broker"]["answers"]
    wait_until(lambda: health(told["ports"]["api"]) is None)
    shown: list[subprocess.CompletedProcess[str]] = []

    def healthy() -> bool:
        shown.append(running("status"))
        return shown[-1].returncode == 0

    wait_until(healthy)
    assert told["url"] in shown[-1].stdout and "ingest-1: partitions" in shown[-1].stdout


def test_doctor_finds_a_fresh_start_healthy(running: Installation) -> None:
    doctor = running("doctor", "--json")
    findings = {finding["subject"]: finding for finding in json.loads(doctor.stdout)["findings"]}
    assert doctor.returncode == 0, doctor.stdout
    assert findings["synchronous_commit"]["found"] == "on"
    assert findings["TimescaleDB"]["level"] == findings["clock"]["level"] == findings["schema"]["level"] == "ok"
    assert findings["broker mqtt"]["level"] == "ok"


def test_up_again_shows_what_runs_already(running: Installation) -> None:
    before = running.json("status")
    again = running("up", "--detach")
    assert again.returncode == 0
    assert "already" in again.stdout
    assert before["url"] in again.stdout
    assert running.json("status")["launcher"] == before["launcher"]
    demo = running("up", "--detach", "--demo")
    assert demo.returncode == 1
    assert "linhub down" in demo.stdout


def test_secrets_never_stand_in_a_command_line(running: Installation) -> None:
    secrets = json.loads((running.home / "secrets.json").read_text())
    assert len(secrets) >= 5
    for process in running.processes:
        command = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode()
        assert not [name for name, secret in secrets.items() if secret in command]


def test_service_that_dies_comes_back_and_status_counts_it(running: Installation) -> None:
    (alerts,) = state.read(running.home).processes["alerts"]
    alerts.send(signal.SIGKILL)
    wait_until(lambda: state.read(running.home).restarts.get("alerts") == 1)
    wait_until(lambda: health(state.read(running.home).ports["alerts"]) is None)
    told = running.ready()
    assert told["services"]["alerts"]["restarts"] == 1
    assert "alerts ended with signal SIGKILL" in (running.home / "logs" / "launcher.log").read_text()


def test_up_after_a_killed_launcher_keeps_data_and_address_and_down_leaves_nothing(install: Install) -> None:
    linhub = install()
    assert linhub("up", "--detach").returncode == 0
    before = state.read(linhub.home)
    linhub.launcher.send(signal.SIGKILL)
    wait_until(lambda: not any(process.alive for process in before.all_processes))
    assert linhub("status").returncode == 1
    assert linhub("up", "--detach").returncode == 0
    after = state.read(linhub.home)
    assert (after.facts["url"], after.ports) == (before.facts["url"], before.ports)
    processes = [*linhub.processes, linhub.launcher]
    assert all(process.alive for process in processes)
    assert len(processes) >= len(SERVICES) + 5
    assert linhub.json("down")["stopped"]
    assert not any(process.alive for process in processes)
    assert not linhub.json("down")["stopped"]


def test_two_homes_run_side_by_side(install: Install) -> None:
    left, right = install("left"), install("right")
    starts = [
        subprocess.Popen(
            [sys.executable, "-m", "services.cli.main", "up", "--detach"],
            cwd=REPOSITORY,
            env=home.environment,
            stdout=subprocess.DEVNULL,
        )
        for home in (left, right)
    ]
    assert [start.wait(PATIENCE_S) for start in starts] == [0, 0]
    one, two = state.read(left.home), state.read(right.home)
    assert not set(one.ports.values()) & set(two.ports.values())
    assert left.json("down")["stopped"]
    assert not any(process.alive for process in one.all_processes)
    assert right.ready()


def test_up_in_the_foreground_stops_on_ctrl_c(install: Install) -> None:
    linhub = install()
    with subprocess.Popen(
        [sys.executable, "-m", "services.cli.main", "up"],
        cwd=REPOSITORY,
        env=linhub.environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        wait_until(lambda: state.read(linhub.home).phase == "ready")
        processes = linhub.processes
        assert child.stdout is not None
        # It is ready a moment before it says so; whoever stops it in between is told nothing of it.
        assert any("is up" in line for line in child.stdout)
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=120)
    assert child.returncode == 0
    assert not any(process.alive for process in processes)


async def test_up_uses_servers_that_are_given(
    install: Install, servers: Servers, mqtt: Mqtt, database_url: str
) -> None:
    linhub = install(LINHUB_DATABASE_URL=database_url, LINHUB_MQTT_URL=mqtt.url)
    up = linhub("up", "--detach")
    assert up.returncode == 0, up.stdout
    told = linhub.ready()
    assert set(told["services"]) == SERVICES - {"identity"}
    assert not (linhub.home / "postgres").exists()
    assert linhub.json("down")["stopped"]
    connection = await asyncpg.connect(database_url)
    await connection.close()


def test_up_says_which_part_failed_and_leaves_nothing(install: Install) -> None:
    linhub = install(LINHUB_LOG_LEVEL="LOUD")
    up = linhub("up", "--detach")
    assert up.returncode == 1
    assert "ended with exit code 2" in up.stdout
    assert "LINHUB_LOG_LEVEL is wrong" in up.stdout
    assert linhub.processes == []
    assert state.read(linhub.home).phase == "stopped"


@pytest.mark.parametrize(
    ("name", "value"), [("LINHUB_MQTT_URL", "http://broker:1883"), ("LINHUB_DATABASE_URL", "mysql://db")]
)
@pytest.mark.parametrize("verb", ["up", "status"])
def test_wrong_address_is_one_line_that_names_the_variable(install: Install, verb: str, name: str, value: str) -> None:
    done = install(**{name: value})(verb)
    assert done.returncode == 2
    told = (done.stdout + done.stderr).strip()
    assert told.startswith(f"linhub: {name} is wrong")
    assert len(told.splitlines()) == 1


def test_up_says_that_no_database_answers(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    linhub = install(LINHUB_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none", LINHUB_PATIENCE_S="1")
    up = linhub("up", "--detach")
    assert up.returncode == 1
    assert "the database does not answer" in up.stdout
    assert "LINHUB_DATABASE_URL" in up.stdout


def test_up_with_docker_says_why_it_cannot(install: Install, tmp_path: Path) -> None:
    nothing = tmp_path / "bin"
    nothing.mkdir()
    linhub = install(PATH=str(nothing))
    up = linhub("up", "--docker")
    assert up.returncode == 1
    assert "docker is not installed" in up.stdout
    told = nothing / "docker"
    told.write_text("#!/bin/sh\necho 'no daemon there' >&2\nexit 1\n")
    told.chmod(0o755)
    up = install("other", PATH=f"{nothing}:/usr/bin:/bin")("up", "--docker")
    assert up.returncode == 1
    assert "no Docker engine answers: no daemon there" in up.stdout


async def test_demo_delivers_notices_whose_links_acknowledge_and_its_city_platform_joins(install: Install) -> None:
    linhub = install("demo")
    up = linhub("up", "--detach", "--demo", "--city", "--scale", "0.02")
    assert up.returncode == 0, up.stdout + up.stderr
    told = linhub.ready()
    sink, city = told["notices"], told["city"]
    shown_by_status = linhub("status").stdout
    assert all(one in up.stdout and one in shown_by_status for one in (sink, city))
    assert set(told["services"]) == {*SERVICES, "notices", "simulator", "city-sim"}
    url = database_url(linhub.home)
    assert url is not None
    async with httpx.AsyncClient(trust_env=False, timeout=90) as http:
        connection = await asyncpg.connect(url)
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not await connection.fetchval("SELECT count(*) FROM contact_channel WHERE shown LIKE 'json%'"):
                assert time.monotonic() < deadline, "nobody was given a channel"
                await asyncio.sleep(0.1)
            device = await connection.fetchval("SELECT id FROM device WHERE kind = 'gas_alarm' ORDER BY id LIMIT 1")
            _, order = await raise_alert(connection, device)
            shown = None
            while shown is None:
                assert time.monotonic() < deadline, "no notice of the gas leak arrived"
                page = (await http.get(sink)).text
                shown = re.search(rf"{re.escape(told['url'])}n/[\w-]{{22}}", page) if "燃气泄漏" in page else None
                await asyncio.sleep(0.1)
            assert (await http.post(shown[0])).status_code == 200
            taken = await connection.fetchval("SELECT count(*) FROM notice WHERE state = 'acknowledged'")
            assert taken >= 1 and order is not None
            # The city platform has joined by itself: it hears of the leak, and has one case open.
            while f"order/{order}" not in (await http.get(city)).text:
                assert time.monotonic() < deadline, "the city platform heard nothing"
                await asyncio.sleep(0.1)
            while await connection.fetchval("SELECT count(*) FROM city_case") != 1:
                assert time.monotonic() < deadline, "the city platform opened no case"
                await asyncio.sleep(0.1)
        finally:
            await connection.close()
