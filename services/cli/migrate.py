"""`linhub migrate`: brings the database's schema up to date."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Annotated
from urllib.parse import urlsplit

import asyncpg
import typer

from services.adapters import migrate as migrations
from services.adapters import tenants
from services.cli.home import database_url, find_home


def register(app: typer.Typer) -> None:
    @app.command()
    def migrate(
        check: Annotated[
            bool, typer.Option("--check", help="Only say what is pending; exit 1 if anything is.")
        ] = False,
        as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    ) -> None:
        """Apply what is pending; safe to run twice and at once, while services run.

        With LINHUB_API_DATABASE_URL, the login it names is made as well: that of the API's requests.
        """
        try:
            url = database_url(find_home())
        except ValueError as error:
            typer.echo(f"linhub: {error}", err=True)
            raise typer.Exit(2) from None
        if url is None:
            typer.echo("linhub: no database yet: run `linhub up`, or set LINHUB_DATABASE_URL", err=True)
            raise typer.Exit(2)
        applied: list[str] = []
        try:
            if check:
                pending = list(asyncio.run(migrations.status(url)).pending)
            else:
                asyncio.run(migrations.migrate(url, progress=applied.append))
                pending = []
                if (api := os.environ.get("LINHUB_API_DATABASE_URL")) and asyncio.run(tenants.ensure_login(url, api)):
                    applied.append(f"login {urlsplit(api).username}")
        except (migrations.MigrationError, tenants.LoginError) as error:
            typer.echo(f"linhub: {error}", err=True)
            raise typer.Exit(1) from None
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            typer.echo(f"linhub: the database does not answer: {error or type(error).__name__}", err=True)
            raise typer.Exit(1) from None
        if as_json:
            typer.echo(json.dumps({"applied": applied, "pending": pending}))
        elif check:
            typer.echo("\n".join(f"pending: {name}" for name in pending) or "up to date")
        else:
            typer.echo("\n".join(f"applied: {name}" for name in applied) or "up to date")
        raise typer.Exit(1 if pending else 0)
