"""`linhub orders`: work orders from the command line; each verb has a file of its own."""

from __future__ import annotations

import typer

from services.cli import orders_classes

VERBS = (orders_classes,)


def register(app: typer.Typer) -> None:
    orders = typer.Typer(help="工单 · Work orders: check the classes they fall into.", no_args_is_help=True)
    app.add_typer(orders, name="orders")
    for verb in VERBS:
        verb.register(orders)
