"""Processes, locks, ports, logs and secrets of the embedded stack."""

from __future__ import annotations

import dataclasses
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.embedded import part, processes, root, state
from deploy.embedded.errors import StackError
from deploy.embedded.locks import Lock, is_held
from deploy.embedded.processes import ProcessId
from deploy.embedded.secrets import Secrets


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])


def test_process_is_itself_and_no_other_of_the_same_number() -> None:
    child = sleeper()
    try:
        process = ProcessId.of(child.pid)
        assert process is not None
        assert process.alive
        later = dataclasses.replace(process, started=process.started + 1)
        another_boot = dataclasses.replace(process, boot="another")
        assert not later.alive
        assert not later.send(signal.SIGKILL)
        assert not another_boot.send(signal.SIGKILL)
        assert child.poll() is None
        assert processes.end([later, another_boot]) == []
        assert child.poll() is None
        assert process.send(signal.SIGKILL)
    finally:
        child.kill()
        child.wait()
    assert not process.alive


def test_process_that_is_only_remains_counts_as_gone() -> None:
    child = sleeper()
    process = ProcessId.of(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process is not None
    assert not process.alive
    child.wait()


def test_process_end_kills_who_does_not_listen() -> None:
    deaf = "import signal; signal.signal(15, signal.SIG_IGN); print(flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        process = ProcessId.of(child.pid)
        assert process is not None
        assert processes.end([process], patience_s=0.2) == [process]
        assert child.wait() == -signal.SIGKILL


def test_state_survives_writing_and_nonsense(tmp_path: Path) -> None:
    here = ProcessId.of(os.getpid())
    assert here is not None
    written = state.State("ready", here, 1.5, {"api": 8080}, {"api": [here]}, {"api": 2}, {"url": "u"})
    state.write(tmp_path, written)
    assert state.read(tmp_path) == written
    assert state.read(tmp_path).running
    for nonsense in ("", "[]", "{}", '{"phase": 1}', "\0"):
        state.state_path(tmp_path).write_text(nonsense)
        assert state.read(tmp_path) == state.State()


def test_lock_stays_while_a_child_lives(tmp_path: Path) -> None:
    path = tmp_path / "part.lock"
    lock = Lock.take(path)
    assert lock is not None
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], pass_fds=(lock.descriptor,))
    lock.release()
    try:
        assert is_held(path)
        assert Lock.take(path, timeout_s=0.05) is None
    finally:
        child.kill()
        child.wait()
    assert not is_held(path)


def test_lock_that_never_was_is_not_held(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "none.lock")


def test_log_is_rotated_and_the_oldest_dropped(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "a.log"
    for number in range(part.KEPT_LOGS + 2):
        part.rotate(log)
        log.write_text(str(number))
    part.rotate(log)
    kept = {path.name: path.read_text() for path in log.parent.iterdir()}
    assert kept == {"a.log.1": "4", "a.log.2": "3", "a.log.3": "2"}


def test_secrets_are_private_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    drawn = Secrets(path).many(["a", "b"])
    assert len(set(drawn.values())) == 2
    assert all(len(secret) >= 32 for secret in drawn.values())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Secrets(path).many(["b", "a", "c"]) | drawn == Secrets(path).many(["a", "b", "c"])


def test_secrets_that_cannot_be_read_are_not_drawn_anew(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    path.write_text("{")
    with pytest.raises(StackError, match="cannot be read"):
        Secrets(path)
    assert path.read_text() == "{"


def test_root_that_is_half_there_is_not_ready(tmp_path: Path) -> None:
    assert not root.is_ready(tmp_path)
    (tmp_path / ".linhub-root.json").write_text(f'{{"digest": "{root.digest()}"}}')
    assert not root.is_ready(tmp_path)
    for name in ("usr/lib/postgresql/17/bin/postgres", "usr/lib/postgresql/17/bin/initdb"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "usr/lib/postgresql/17/bin/psql").touch()
    (tmp_path / "usr/sbin").mkdir()
    (tmp_path / "usr/sbin/mosquitto").touch()
    assert root.is_ready(tmp_path)
    (tmp_path / ".linhub-root.json").write_text('{"digest": "of another version"}')
    assert not root.is_ready(tmp_path)
