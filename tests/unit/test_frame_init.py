"""`linhub init`: random secrets, never overwritten, never readable by others, never shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from services.cli import init


def app() -> typer.Typer:
    application = typer.Typer()
    init.register(application)
    application.command("other")(lambda: None)  # with a second command typer keeps the first one's name
    return application


def test_init_writes_every_secret_for_its_owner_alone(tmp_path: Path) -> None:
    done = init.initialise(tmp_path / ".env")
    values = init.assignments((tmp_path / ".env").read_text())
    assert set(values) == set(init.SECRETS) == set(done.written)
    assert all(len(value) == 32 and value.isalnum() for value in values.values())
    assert len(set(values.values())) == len(values)
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600


def test_init_makes_other_secrets_in_another_folder(tmp_path: Path) -> None:
    init.initialise(tmp_path / "one")
    init.initialise(tmp_path / "two")
    one, two = (init.assignments((tmp_path / name).read_text()) for name in ("one", "two"))
    assert not set(one.values()) & set(two.values())


def test_init_keeps_what_is_there_and_fills_what_is_empty(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("# mine\nLINHUB_SECRET_KEY='chosen'\nexport OTHER=1\nLINHUB_POSTGRES_PASSWORD=\nLAST=2")
    path.chmod(0o644)
    done = init.initialise(path)
    text = path.read_text()
    values = init.assignments(text)
    assert text.startswith("# mine\nLINHUB_SECRET_KEY='chosen'\nexport OTHER=1\nLAST=2\n")
    assert values["LINHUB_SECRET_KEY"] == "chosen"
    assert done.kept == ("LINHUB_SECRET_KEY",)
    assert values["LINHUB_POSTGRES_PASSWORD"]
    assert text.count("LINHUB_POSTGRES_PASSWORD=") == 1
    assert path.stat().st_mode & 0o777 == 0o600


def test_init_twice_changes_nothing_and_tightens_the_mode(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    init.initialise(path)
    before = path.read_bytes()
    path.chmod(0o640)
    assert init.initialise(path).written == ()
    assert path.read_bytes() == before
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_init_command_never_shows_a_value(tmp_path: Path, arguments: list[str]) -> None:
    path = tmp_path / ".env"
    result = CliRunner().invoke(app(), ["init", "--env-file", str(path), *arguments])
    assert result.exit_code == 0, result.output
    assert not [value for value in init.assignments(path.read_text()).values() if value in result.output]
    if arguments:
        assert set(json.loads(result.output)["written"]) == set(init.SECRETS)


def test_init_says_why_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    result = CliRunner().invoke(app(), ["init", "--env-file", str(tmp_path / "folder")])
    assert result.exit_code == 1
    assert "cannot be written" in result.output
