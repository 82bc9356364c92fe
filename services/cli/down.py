"""`linhub down`: stops what `linhub up` started, and nothing else."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer
from rich.console import Console

from deploy.embedded.errors import StackError
from deploy.embedded.stack import shut_down
from services.cli.home import find_home, tr
from services.cli.report import Failure, print_failure
from services.cli.up import compose


def register(app: typer.Typer) -> None:
    @app.command()
    def down(
        docker: Annotated[bool, typer.Option("--docker", help="What `up --docker` started.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    ) -> None:
        """Stop everything of this home, from any terminal; data stays. Done when nothing of it runs any more."""
        home = find_home()
        began = time.monotonic()
        try:
            if docker:
                raise typer.Exit(compose("--profile", "demo", "down"))
            if as_json:
                stopped = shut_down(home)
            else:
                with Console(stderr=True).status(tr("stopping", "正在停止")):
                    stopped = shut_down(home)
        except StackError as error:
            print_failure(Console(stderr=True), Failure.of(error))
            raise typer.Exit(error.exit_code) from None
        took = time.monotonic() - began
        if as_json:
            typer.echo(json.dumps({"home": str(home), "stopped": stopped, "took_s": round(took, 2)}))
        elif stopped:
            typer.echo(
                tr(f"stopped after {took:.1f} s; data stays in {home}", f"已停止（{took:.1f} s），数据保留在 {home}")
            )
        else:
            typer.echo(tr("nothing was running", "没有正在运行的服务"))
