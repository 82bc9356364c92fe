"""What `make` installs: only what is missing, and where it may not, the exact command to run."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

from deploy import prepare
from deploy.embedded import root, tools
from deploy.embedded.errors import StackError
from deploy.prepare import PrepareError, Step


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without any of the programs, and an ordinary user."""
    for name in ("LINHUB_DATABASE_URL", "LINHUB_MQTT_URL", "LINHUB_TEST_DATABASE_URL", "LINHUB_TEST_MQTT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(tools, "privilege", lambda: None)
    return tmp_path


@pytest.mark.parametrize(
    ("goal", "packages"),
    [
        ("demo", ["mmdebstrap", "bubblewrap"]),
        ("test", ["mmdebstrap", "bubblewrap", "chromium", "strace", "faketime"]),
        ("faults", ["mmdebstrap", "bubblewrap", "strace", "faketime"]),
        ("check", []),
    ],
)
def test_prepare_asks_for_what_the_goal_needs(bare: Path, goal: str, packages: list[str]) -> None:
    assert prepare.missing_packages(goal) == packages


def test_prepare_needs_no_server_programs_where_servers_are_named(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINHUB_DATABASE_URL", "postgresql://db")
    assert prepare.missing_packages("demo") == ["mmdebstrap", "bubblewrap"]
    monkeypatch.setenv("LINHUB_MQTT_URL", "mqtt://broker")
    assert prepare.missing_packages("demo") == []


def test_prepare_asks_for_venv_where_python_has_none(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "PYTHON", bare / "none")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    major, minor = sys.version_info[:2]
    assert f"python{major}.{minor}-venv" in prepare.missing_packages("check")


def test_prepare_names_the_command_it_may_not_run(bare: Path) -> None:
    with pytest.raises(PrepareError, match=r"sudo apt-get update && sudo apt-get install -y .*mmdebstrap bubblewrap"):
        prepare.system_packages("demo", bare / "log")


def test_prepare_shows_the_end_of_what_a_failed_command_said(tmp_path: Path) -> None:
    with pytest.raises(PrepareError, match=r"do this instead\n(.*\n)*.*out of luck"):
        prepare.call(["sh", "-c", "echo out of luck; exit 4"], tmp_path / "log", "do this instead")


def test_prepare_names_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PrepareError, match=r"no-such-program: No such file"):
        prepare.call(["no-such-program"], tmp_path / "log", "install it")


def test_prepare_runs_steps_side_by_side_and_names_the_one_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prepare, "STATE", tmp_path)
    first, second = Step("first", lambda log: second.done.wait(10)), Step("second", lambda log: 1 // 0 == 0)
    with pytest.raises(PrepareError, match=r"second: ZeroDivisionError"):
        prepare.together([first, second])
    assert first.worked
    assert "✓ first" in capsys.readouterr().out


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A copy of the project with pip replaced; what it was asked to install."""
    asked: list[str] = []
    for name in ("requirements.lock", "requirements-run.lock", "requirements-build.lock", "requirements-real.lock"):
        (tmp_path / name).write_text(name)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / ".venv").mkdir()
    monkeypatch.setattr(prepare, "ROOT", tmp_path)
    monkeypatch.setattr(prepare, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(prepare, "_pip", lambda log, *arguments: asked.extend(arguments))
    return asked


def test_prepare_installs_packages_once(copy: list[str], tmp_path: Path) -> None:
    assert prepare.python_packages("demo", tmp_path / "log")
    assert "--require-hashes" in copy
    assert "requirements-run.lock" in copy
    assert "requirements.lock" not in copy
    assert not prepare.python_packages("demo", tmp_path / "log")
    assert prepare.python_packages("test", tmp_path / "log")
    assert "requirements.lock" in copy


def test_prepare_needs_nothing_for_the_demo_after_the_tests(copy: list[str], tmp_path: Path) -> None:
    prepare.python_packages("test", tmp_path / "log")
    assert not prepare.python_packages("demo", tmp_path / "log")


def test_prepare_installs_again_after_a_lock_changed(copy: list[str], tmp_path: Path) -> None:
    prepare.python_packages("test", tmp_path / "log")
    (tmp_path / "requirements.lock").write_text("newer")
    assert prepare.python_packages("test", tmp_path / "log")


def test_prepare_forgets_a_stamp_when_an_install_breaks_off(
    copy: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare.python_packages("test", tmp_path / "log")
    (tmp_path / "requirements.lock").write_text("newer")

    def broken(log: Path, *arguments: str) -> None:
        raise PrepareError("no network")

    monkeypatch.setattr(prepare, "_pip", broken)
    with pytest.raises(PrepareError):
        prepare.python_packages("test", tmp_path / "log")
    (tmp_path / "requirements.lock").write_text("requirements.lock")
    with pytest.raises(PrepareError):
        prepare.python_packages("test", tmp_path / "log")


def test_prepare_unpacks_the_servers_where_the_goal_will_look(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    unpacked: list[Path] = []
    monkeypatch.setattr(root, "ensure", lambda place, log: unpacked.append(place))
    monkeypatch.setenv("LINHUB_HOME", str(tmp_path))
    monkeypatch.delenv("LINHUB_TEST_DATABASE_URL", raising=False)
    monkeypatch.setattr(prepare, "ROOT", tmp_path / "copy")
    assert prepare.servers("demo", tmp_path / "log")
    assert prepare.servers("test", tmp_path / "log")
    assert not prepare.servers("check", tmp_path / "log")
    assert unpacked == [tmp_path / "root", tmp_path / "copy" / ".linhub" / "root"]


def test_prepare_hands_on_what_the_stack_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(place: Path, log: Path) -> None:
        raise StackError("no archive", hint="look there", log=log)

    monkeypatch.setattr(root, "ensure", refuse)
    monkeypatch.setattr(prepare, "ROOT", tmp_path)
    monkeypatch.delenv("LINHUB_TEST_DATABASE_URL", raising=False)
    with pytest.raises(PrepareError, match=r"no archive\n    look there\n    .*log"):
        prepare.servers("test", tmp_path / "log")
