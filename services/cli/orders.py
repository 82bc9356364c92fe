"""`linhub orders`: work orders from the command line; each verb has a file of its own."""

from __future__ import annotations

import typer

from services.cli import orders_classes, orders_import

HELP = "工单 · Work orders: take over an old system's, check the classes they fall into."
VERBS = (orders_import, orders_classes)


def register(app: typer.Typer) -> None:
    orders = typer.Typer(help=HELP, no_args_is_help=True)
    app.add_typer(orders, name="orders")
    for verb in VERBS:
        verb.register(orders)

    @orders.callback()
    def _orders() -> None:
        pass
