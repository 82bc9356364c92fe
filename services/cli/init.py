"""`linhub init`: random secrets for docker-compose.yml, written once into `.env`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from services.adapters.broker_identity import SERVICE_ACCOUNTS, new_secret, replace_file


def password_variable(account: str) -> str:
    """`svc-ingest` → `LINHUB_SVC_INGEST_PASSWORD`."""
    return f"LINHUB_{account.upper().replace('-', '_')}_PASSWORD"


SECRETS: Mapping[str, str] = {
    "LINHUB_POSTGRES_PASSWORD": "The database's owner.",
    "LINHUB_API_DATABASE_PASSWORD": "The database's login of the API's requests, which sees one tenant at a time.",
    "LINHUB_SECRET_KEY": "Signs the sessions of people; a new one logs everybody out.",
    **{password_variable(account): f"The broker's account {account}." for account in SERVICE_ACCOUNTS},
}
"""Every secret that docker-compose.yml asks for, and what it is for."""

_HEAD = (
    "# Secrets of this installation, made by `linhub init`. Keep this file to yourself; it belongs in no repository.\n"
)
_ASSIGNMENT = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$")


class InitError(Exception):
    """`.env` cannot be written; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Written:
    """What `initialise` did: which names it wrote and which already had a value. Never the values."""

    path: Path
    written: tuple[str, ...]
    kept: tuple[str, ...]


def assignments(text: str) -> dict[str, str]:
    """The values of a `.env` file; the last assignment of a name counts."""
    matches = (_ASSIGNMENT.match(line) for line in text.splitlines())
    return {match[1]: match[2].strip("'\"") for match in matches if match}


def initialise(path: Path) -> Written:
    """Adds what is missing or empty, keeps every other line, and leaves the file readable by its owner alone.

    Raises InitError.
    """
    try:
        before = path.read_text(encoding="utf-8") if path.exists() else _HEAD
        have = assignments(before)
        missing = [name for name in SECRETS if not have.get(name)]
        lines = [line for line in before.splitlines(keepends=True) if not _is_empty(line, missing)]
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n"
        lines += [f"\n# {SECRETS[name]}\n{name}={new_secret()}\n" for name in missing]
        if missing:
            replace_file(path.resolve(), "".join(lines).encode(), 0o600)
        elif path.stat().st_mode & 0o077:
            path.chmod(0o600)
    except (OSError, UnicodeDecodeError) as error:
        raise InitError(f"{path} cannot be written: {error}") from error
    return Written(path, tuple(missing), tuple(name for name in SECRETS if name not in missing))


def _is_empty(line: str, names: list[str]) -> bool:
    match = _ASSIGNMENT.match(line)
    return match is not None and match[1] in names and not match[2].strip("'\"")


def register(app: typer.Typer) -> None:
    @app.command()
    def init(
        env_file: Annotated[Path, typer.Option(help="The file docker compose reads.")] = Path(".env"),
        as_json: Annotated[bool, typer.Option("--json", help="For programs: names only, never a value.")] = False,
    ) -> None:
        """Write random secrets for docker compose into .env; what is there already stays."""
        try:
            done = initialise(env_file)
        except InitError as error:
            Console(stderr=True).print(f"linhub: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
            raise typer.Exit(1) from None
        if as_json:
            typer.echo(json.dumps({"path": str(done.path), "written": done.written, "kept": done.kept}))
            return
        console = Console(highlight=False)
        if done.written:
            console.print(f"{done.path}: wrote {', '.join(done.written)} (readable by you alone)")
        else:
            console.print(f"{done.path}: nothing to do, every secret is there")
        console.print("Next: docker compose --profile demo up --build --wait")
