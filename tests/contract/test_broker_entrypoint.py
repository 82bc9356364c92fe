"""The broker's entrypoint: waits for the password file, reloads when it is replaced, ends as the broker ends."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "deploy" / "broker" / "entrypoint.sh"

BROKER = """#!/bin/sh
trap 'echo reloaded' HUP
trap 'echo stopped; exit 7' TERM
echo "started $*"
while :; do sleep 0.05; done
"""


class Running:
    def __init__(self, folder: Path, access: bool = True) -> None:
        broker = folder / "mosquitto"
        broker.write_text(BROKER)
        broker.chmod(0o755)
        self.passwords = folder / "passwords"
        self.access = folder / "acl"
        if access:
            self.access.write_text("user svc-health\n")
        self._output = folder / "output"
        environment = {"PATH": f"{folder}:/usr/bin:/bin", "LINHUB_PASSWORD_FILE": str(self.passwords)}
        with self._output.open("wb") as sink:
            self.process = subprocess.Popen(
                ["sh", SCRIPT, "mosquitto", "-c", "the.conf"],
                stdout=sink,
                stderr=sink,
                env={**environment, "LINHUB_PASSWORD_POLL_S": "0.05"},
                start_new_session=True,
                # A shell can trap no signal that it was born ignoring, as it is below `nohup`.
                preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
            )

    def said(self) -> list[str]:
        return self._output.read_text().splitlines()

    def replace(self, text: str) -> None:
        new = self.passwords.with_suffix(".new")
        new.write_text(text)
        new.replace(self.passwords)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path)
    yield running
    if running.process.poll() is None:
        os.killpg(running.process.pid, signal.SIGKILL)
    running.process.wait(60)


def until(true: Callable[[], bool], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def _reloaded(running: Running, times: int) -> bool:
    return running.said().count("reloaded") == times


def test_entrypoint_waits_for_the_password_file_and_then_starts_the_broker(running: Running) -> None:
    until(lambda: running.said() == [f"waiting for {running.passwords} and {running.access}"])
    running.replace("svc-health:hash\n")
    until(lambda: "started -c the.conf" in running.said())


def test_entrypoint_waits_for_the_access_list_too(tmp_path: Path) -> None:
    """A password file from before there was one beside it opens nothing."""
    (tmp_path / "passwords").write_text("svc-health:hash\n")
    running = Running(tmp_path, access=False)
    try:
        until(lambda: running.said() == [f"waiting for {running.passwords} and {running.access}"])
        running.access.write_text("user svc-health\n")
        until(lambda: "started -c the.conf" in running.said())
    finally:
        os.killpg(running.process.pid, signal.SIGKILL)
        running.process.wait(60)


def test_entrypoint_reloads_the_broker_each_time_the_file_is_replaced(running: Running) -> None:
    running.replace("a\n")
    until(lambda: "started -c the.conf" in running.said())
    for times in (1, 2):
        running.replace("b\n")  # the same length and, within a second, the same time: the inode tells
        until(partial(_reloaded, running, times))


def test_entrypoint_leaves_the_broker_alone_while_the_file_stays(running: Running) -> None:
    running.replace("a\n")
    until(lambda: "started -c the.conf" in running.said())
    running.passwords.unlink()  # gone for a moment is no reason to lock everybody out
    running.replace("b\n")
    until(lambda: "reloaded" in running.said())
    assert running.said().count("reloaded") == 1


def test_entrypoint_hands_signals_and_exit_code_through(running: Running) -> None:
    running.replace("a\n")
    until(lambda: "started -c the.conf" in running.said())
    running.process.terminate()
    assert running.process.wait(60) == 7
    assert running.said()[-1] == "stopped"
