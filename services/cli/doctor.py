"""`linhub doctor`: what is wrong here, and what to do about it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from services.cli.checks import Level, examine
from services.cli.home import find_home, tr

_MARKS: dict[Level, str] = {
    "ok": "[green]✓[/]",
    "note": "[dim]·[/]",
    "warning": "[yellow]![/]",
    "broken": "[red]✗[/]",
}


def register(app: typer.Typer) -> None:
    @app.command()
    def doctor(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
        """Check versions, tools, clock, disk, ports, database and broker. Exit 1 when something must be mended."""
        try:
            findings = list(examine(find_home()))
        except ValueError as error:
            typer.echo(f"linhub: {error}", err=True)
            raise typer.Exit(2) from None
        broken = sum(finding.level == "broken" for finding in findings)
        if as_json:
            told = {"healthy": not broken, "findings": [asdict(finding) for finding in findings]}
            typer.echo(json.dumps(told, indent=1, ensure_ascii=False))
            raise typer.Exit(1 if broken else 0)
        console = Console()
        for finding in findings:
            console.print(f"{_MARKS[finding.level]} [bold]{finding.subject}[/] ", end="")
            console.print(finding.found, markup=False, highlight=False, soft_wrap=True)
            if finding.todo:
                console.print(f"    → {finding.todo}", markup=False, highlight=False, soft_wrap=True)
        if broken:
            console.print(tr(f"{broken} to mend", f"需要处理：{broken} 项"), style="red")
        else:
            console.print(tr("nothing to mend", "一切正常"), style="green")
        raise typer.Exit(1 if broken else 0)
