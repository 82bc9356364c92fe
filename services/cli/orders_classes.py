"""`linhub orders classes`: checks classes of orders (工单类别) in a file, or shows those that come with LinHub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from services.adapters.orders.class_files import ClassFileError, default_document, load_defaults, read_file
from services.domain.orders.classes import Classes
from services.domain.rules.spans import write_span

OK, FAULTY, CANNOT = 0, 1, 2


def register(orders: typer.Typer) -> None:
    classes = typer.Typer(
        help="工单类别 · Classes of orders: their clocks, ladders and needs. Nothing is written.", no_args_is_help=True
    )
    orders.add_typer(classes, name="classes")

    @classes.command("check")
    def check(files: Annotated[list[Path], typer.Argument(help="Classes in YAML.")]) -> None:
        """Check classes; every fault is named with its line. Exit code 1: there is one, 2: a file cannot be read."""
        out, err = Console(highlight=False), Console(stderr=True, highlight=False)
        faulty = False
        for path in files:
            try:
                text = read_file(path)
            except ClassFileError as error:
                err.print(str(error), markup=False, style="red")
                raise typer.Exit(CANNOT) from None
            for one in text.findings:
                err.print(one.said(str(path)), markup=False, style="red")
            if text.classes is None:
                faulty = True
                continue
            out.print(str(path), markup=False)
            out.print(_table(text.classes))
        raise typer.Exit(FAULTY if faulty else OK)

    @classes.command("defaults")
    def defaults(yaml: Annotated[bool, typer.Option("--yaml", help="As text, to start from.")] = False) -> None:
        """The classes that come with LinHub."""
        if yaml:
            typer.echo(default_document(), nl=False)
        else:
            Console(highlight=False).print(_table(load_defaults()))


def _table(classes: Classes) -> Table:
    table = Table("类别 class", "日历 calendar", "派单 mode", "时限 clocks")
    for one in classes.classes:
        clocks = "  ".join(f"{name} {write_span(clock.due_s)}" for name, clock in one.clocks.items())
        table.add_row(f"{one.id} {one.title.zh}", one.calendar, one.mode.value, clocks)
    return table
