"""Every command of docker-compose.yml starts as a plain process from what the image holds, and gets ready."""

from __future__ import annotations

import compileall
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from bench.system import drop_database
from services.adapters.broker_identity import new_secret
from services.cli.init import SECRETS
from tests.conftest import Mqtt, Servers, with_database
from tests.contract.compose import OURS, environment, interpolate, load, stage
from tests.fault_kit import free_port

SERVICES: dict[str, Any] = load()["services"]
VALUES = {name: new_secret() for name in SECRETS} | {"LINHUB_SIM_SCALE": "0.01"}
CHEAP = {name: value for name, value in os.environ.items() if name.startswith("LINHUB_PASSWORD_")}
API_LOGIN = f"linhub_api_{new_secret()[:12].lower()}"
"""Logins belong to the cluster, which other tests share."""
LASTING = ("ingest", "alerts", "api")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("image")
    stage(folder)
    # Once, not by each of the processes: none of them may write into it.
    compileall.compile_dir(folder, quiet=1)
    return folder


class Machine:
    """Starts compose services as processes, with containers' addresses replaced by those of the test's servers."""

    def __init__(self, image: Path, home: Path, database_url: str, mqtt: Mqtt) -> None:
        self._image, self._home, self._database_url, self._mqtt = image, home, database_url, mqtt
        self.passwords = home / "passwords"
        self._started: list[subprocess.Popen[bytes]] = []

    def _local(self, name: str, port: int) -> dict[str, str]:
        told = environment(SERVICES[name], VALUES)
        replaced = {
            "LINHUB_DATABASE_URL": self._database_url,
            "LINHUB_HEALTH_HOST": "127.0.0.1",
            "LINHUB_HEALTH_PORT": str(port),
            "LINHUB_HTTP_HOST": "127.0.0.1",
            "LINHUB_HTTP_PORT": str(port),
            "LINHUB_HOME": str(self._home),
            "LINHUB_SIM_HOME": str(self._home),
            "LINHUB_BROKER_DATA": str(self._home),
        }
        if "LINHUB_MQTT_URL" in told:
            broker = urlsplit(told["LINHUB_MQTT_URL"])
            # The identity account's password is in the file it writes, not in the URL: it is new with each file.
            port = self._mqtt.device_port if name == "simulator" else self._mqtt.port
            assert (broker.hostname, broker.port) == ("broker", 1883 if name == "simulator" else 1884)
            assert bool(broker.username) == (name not in {"simulator", "identity"})
            anonymous = f"mqtt://{self._mqtt.host}:{port}"
            replaced["LINHUB_MQTT_URL"] = self._mqtt.account_url(broker.username) if broker.username else anonymous
        if "LINHUB_API_DATABASE_URL" in told:
            api, server = urlsplit(told["LINHUB_API_DATABASE_URL"]), urlsplit(self._database_url)
            assert (api.username, api.hostname, api.path) == ("linhub_api", "database", "/linhub")
            here = f"{API_LOGIN}:{api.password}@{server.hostname}:{server.port}"
            replaced["LINHUB_API_DATABASE_URL"] = server._replace(netloc=here).geturl()
        return told | {variable: value for variable, value in replaced.items() if variable in told}

    def start(self, name: str, port: int = 0) -> subprocess.Popen[bytes]:
        service = SERVICES[name]
        assert service["image"] == OURS
        program, *arguments = [interpolate(word, VALUES) for word in service["command"]]
        assert program == "python"
        arguments = [str(self.passwords) if word == "/mosquitto/identity/passwords" else word for word in arguments]
        clean = {"PATH": os.environ["PATH"], "PYTHONPATH": str(self._image), "PYTHONDONTWRITEBYTECODE": "1"} | CHEAP
        with self.log(name).open("wb") as sink:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self._image,
                env=clean | self._local(name, port),
                stdout=sink,
                stderr=sink,
            )
        self._started.append(process)
        return process

    def log(self, name: str) -> Path:
        return self._home / f"{name}.log"

    def words(self, name: str) -> str:
        return self.log(name).read_text(errors="replace")[-3000:]

    def once(self, name: str) -> None:
        code = self.start(name).wait(120)
        assert code == 0, self.words(name)

    def until(self, name: str, process: subprocess.Popen[bytes], true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 150
        while not true():
            assert process.poll() is None, f"{name} ended:\n{self.words(name)}"
            assert time.monotonic() < deadline, f"{name} did not get ready:\n{self.words(name)}"
            time.sleep(0.05)

    def end(self, name: str, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGTERM)
        grace = float(SERVICES[name]["stop_grace_period"].removesuffix("s"))
        assert process.wait(grace) == 0, self.words(name)

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.wait(10)


@pytest.fixture
def machine(image: Path, tmp_path: Path, database_url: str, mqtt: Mqtt) -> Iterator[Machine]:
    machine = Machine(image, tmp_path, database_url, mqtt)
    yield machine
    machine.close()


def ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@pytest.mark.parametrize("name", LASTING)
def test_image_service_gets_ready_and_stops_in_time(machine: Machine, name: str) -> None:
    machine.once("migrate")
    port = free_port()
    process = machine.start(name, port)
    machine.until(name, process, lambda: ready(port))
    machine.end(name, process)


@pytest.mark.parametrize("name", LASTING)
def test_image_service_names_a_setting_that_is_missing(machine: Machine, name: str) -> None:
    done = subprocess.run(
        [sys.executable, *SERVICES[name]["command"][1:]],
        cwd=machine._image,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(machine._image)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "LINHUB_DATABASE_URL is not set" in done.stderr
    assert "Traceback" not in done.stderr


def test_image_seed_and_identity_let_the_simulated_devices_in(machine: Machine, mqtt: Mqtt) -> None:
    machine.once("migrate")
    machine.once("seed")
    identity = machine.start("identity")
    credentials = json.loads((machine._home / "sim" / "credentials.json").read_text())
    machine.until(
        "identity",
        identity,
        lambda: (
            machine.passwords.exists()
            and {line.partition(":")[0] for line in machine.passwords.read_text().splitlines()} >= set(credentials)
        ),
    )
    machine.end("identity", identity)

    mqtt.admit(credentials)
    simulator = machine.start("simulator")
    broker = f":{mqtt.device_port:04X}"
    machine.until("simulator", simulator, lambda: connected(simulator.pid, broker))
    machine.end("simulator", simulator)


def connected(pid: int, port: str) -> bool:
    """The check of compose's healthcheck, of this process alone: the test shares its network with others."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(str(link.readlink()))
        except OSError:
            continue
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[2].endswith(port) and row[3] == "01" and f"socket:[{row[9]}]" in inodes for row in rows)


@pytest.fixture
async def empty_database(servers: Servers) -> AsyncIterator[str]:
    """One without any table."""
    name = f"linhub_empty_{new_secret()[:12]}"
    connection = await asyncpg.connect(servers.database_url)
    await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
    await connection.close()
    yield with_database(servers.database_url, name)
    await drop_database(servers.database_url, name)


@pytest.mark.parametrize("name", LASTING)
def test_image_service_waits_for_the_schema(
    image: Path, tmp_path: Path, empty_database: str, mqtt: Mqtt, name: str
) -> None:
    """Compose starts in order; a restart need not. A service without its schema says so, and starts when it comes."""
    machine = Machine(image, tmp_path, empty_database, mqtt)
    port = free_port()
    try:
        process = machine.start(name, port)
        machine.until(name, process, lambda: "linhub migrate" in machine.words(name))
        assert not ready(port)
        machine.once("migrate")
        machine.until(name, process, lambda: ready(port))
        machine.end(name, process)
    finally:
        machine.close()
