"""The embedded servers: real processes, killed, frozen, left behind and taken up again."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from deploy.embedded import state
from deploy.embedded.broker import HEALTH_ACCOUNT, connect
from deploy.embedded.errors import HomeInUse, StackError
from deploy.embedded.locks import is_held
from deploy.embedded.part import Part
from deploy.embedded.processes import ProcessId
from deploy.embedded.stack import Stack, shut_down
from services.adapters.broker_identity import secret_hash
from tests.conftest import REPOSITORY, ROOT, Servers

LAUNCHER = """
import signal, sys
from pathlib import Path
from deploy.embedded.stack import Stack
from services.adapters.broker_identity import secret_hash

asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
with Stack(Path(sys.argv[1]), secret_hash, root=Path(sys.argv[2])) as stack:
    servers = stack.start_servers()
    stack.start_service("worker", [sys.executable, "-c", "import signal; signal.pause()"], {}, None)
    print(servers.database_url, flush=True)
    stack.supervise(lambda: bool(asked))
"""


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with Stack(tmp_path / "home", secret_hash, root=ROOT, say=lambda _: None) as opened:
        opened.ensure_root()
        yield opened


@pytest.fixture
def launched(tmp_path: Path, servers: Servers) -> Iterator[Callable[[str], tuple[subprocess.Popen[str], str]]]:
    """Starts a launcher on a home of that name: its process, the address of its database. `servers` made the root."""
    started: list[subprocess.Popen[str]] = []

    def launch(name: str) -> tuple[subprocess.Popen[str], str]:
        child = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, str(tmp_path / name), str(ROOT)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )
        started.append(child)
        assert child.stdout is not None
        return child, child.stdout.readline().strip()

    yield launch
    for child in started:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


async def ask(url: str, sql: str) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


def wait_until(what: Callable[[], bool], timeout_s: float = 90.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def recorded(home: Path) -> list[ProcessId]:
    return state.read(home).all_processes


async def test_servers_start_and_keep_their_data_ports_and_secrets(stack: Stack) -> None:
    first = stack.start_servers()
    assert await ask(first.database_url, "SHOW synchronous_commit") == "on"
    assert await ask(first.database_url, "SHOW data_checksums") == "on"
    await ask(first.database_url, "CREATE TABLE kept AS SELECT 7 AS n")
    stack.close()
    assert recorded(stack.home) == []
    stack.open()
    second = stack.start_servers()
    assert second.database_url == first.database_url
    assert second.secrets == first.secrets
    assert (second.mqtt_port, second.device_port) == (first.mqtt_port, first.device_port)
    assert await ask(second.database_url, "SELECT n FROM kept") == 7


async def test_servers_refuse_whoever_lacks_the_password(stack: Stack) -> None:
    servers = stack.start_servers()
    wrong = servers.database_url.replace(stack.secrets.one("postgres"), "wrong")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(wrong)
    assert connect(servers.mqtt_port, HEALTH_ACCOUNT, "wrong") == 5
    assert connect(servers.device_port, "", "") == 5
    for path in (stack.home, stack.home / "run", stack.home / "logs", stack.home / "mosquitto"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_home_is_for_one_launcher(stack: Stack) -> None:
    second = Stack(stack.home, secret_hash, root=ROOT)
    with pytest.raises(HomeInUse, match="in use"):
        second.open()
    second.close()
    assert is_held(state.lock_path(stack.home))


@pytest.mark.parametrize("name", ["postgres", "mosquitto"])
async def test_server_that_was_killed_starts_again_where_it_was(breakable: Servers, name: str) -> None:
    assert breakable.stack is not None
    await ask(breakable.database_url, "CREATE TABLE kept AS SELECT 7 AS n")
    part: Part = getattr(breakable.stack, name)
    part.kill()
    assert not part.alive
    assert not is_held(part.lock_path)
    part.start()
    part.wait_ready()
    assert await ask(breakable.database_url, "SELECT n FROM kept") == 7
    assert connect(breakable.mqtt_port, HEALTH_ACCOUNT, breakable.mqtt.accounts[HEALTH_ACCOUNT]) == 0


async def test_server_that_is_frozen_answers_again_when_thawed(breakable: Servers) -> None:
    assert breakable.stack is not None
    postgres = breakable.stack.postgres
    postgres.freeze()
    with pytest.raises(TimeoutError):
        await asyncpg.connect(breakable.database_url, timeout=0.3)
    postgres.thaw()
    assert await ask(breakable.database_url, "SELECT 1") == 1
    postgres.freeze()
    breakable.stack.mosquitto.freeze()
    # Closing must not hang on what is frozen; the fixture does it.


async def test_pid_file_of_a_killed_server_is_no_hindrance(breakable: Servers) -> None:
    assert breakable.stack is not None
    postgres = breakable.stack.postgres
    postgres.kill()
    # As a power cut leaves it. PostgreSQL itself would refuse to start.
    (postgres.data / "postmaster.pid").write_text("")
    postgres.start()
    postgres.wait_ready()
    assert await ask(breakable.database_url, "SELECT 1") == 1


def test_supervisor_starts_again_what_ends(stack: Stack) -> None:
    said: list[str] = []
    stack.say = said.append
    service = stack.start_service("worker", [sys.executable, "-c", "import signal; signal.pause()"], {}, None)
    first = service.processes[0]
    ended = threading.Event()

    def interfere() -> None:
        first.send(signal.SIGKILL)
        wait_until(lambda: any(process.alive for process in recorded(stack.home) if process != first))
        ended.set()

    helper = threading.Thread(target=interfere)
    helper.start()
    stack.supervise(ended.is_set)
    helper.join()
    assert service.alive
    assert said == ["worker ended with signal SIGKILL; starting it again in 0.5 s", "worker runs again"]
    assert state.read(stack.home).restarts == {"worker": 1}


def test_part_that_does_not_start_says_why(stack: Stack) -> None:
    program = "import sys; sys.exit('LINHUB_X is not set')"
    service = stack.start_service("worker", [sys.executable, "-c", program], {}, 1)
    with pytest.raises(StackError, match="worker ended with exit code 1") as caught:
        service.wait_ready()
    assert caught.value.last_lines() == ["LINHUB_X is not set"]


def test_launcher_killed_takes_everything_with_it_and_the_next_takes_over(
    launched: Callable[[str], tuple[subprocess.Popen[str], str]], tmp_path: Path
) -> None:
    child, url = launched("home")
    home = tmp_path / "home"
    processes = recorded(home)
    assert {name for name, group in state.read(home).processes.items() if group} == {"postgres", "mosquitto", "worker"}
    child.kill()
    child.wait()
    wait_until(lambda: not any(process.alive for process in processes))
    again, same_url = launched("home")
    assert same_url == url
    assert shut_down(home)
    assert again.wait(30) == 0


def test_processes_left_behind_are_ended_by_the_next_launcher(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as orphan:
        process = ProcessId.of(orphan.pid)
        assert process is not None
        state.write(home, state.State("ready", None, processes={"worker": [process]}))
        said: list[str] = []
        with Stack(home, secret_hash, root=ROOT, say=said.append):
            assert orphan.wait(10) == -signal.SIGTERM
        assert said == ["ended 1 processes that a killed launcher had left"]


def test_shut_down_ends_its_own_home_and_nothing_else(
    launched: Callable[[str], tuple[subprocess.Popen[str], str]], tmp_path: Path
) -> None:
    left, left_url = launched("left")
    right, right_url = launched("right")
    assert left_url != right_url
    processes = recorded(tmp_path / "left")
    assert len(processes) >= 5
    assert shut_down(tmp_path / "left")
    assert left.wait(1) == 0
    assert not any(process.alive for process in processes)
    assert all(process.alive for process in recorded(tmp_path / "right"))
    assert right.poll() is None
    assert not shut_down(tmp_path / "left")
    assert not shut_down(tmp_path / "never")
    assert json.loads(state.state_path(tmp_path / "left").read_text())["phase"] == "stopped"
    assert (tmp_path / "left" / "postgres").is_dir()


def test_ports_are_given_back_when_a_process_ends_that_kept_them_to_the_last() -> None:
    code = "from deploy.embedded.ports import Reservations; kept = Reservations(); kept.choose()"
    ended = subprocess.run([sys.executable, "-W", "always", "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
