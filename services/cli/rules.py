"""`linhub rules`: look at rules, and prove them before they page anybody."""

from __future__ import annotations

import typer

from services.cli import rules_check, rules_show


def register(app: typer.Typer) -> None:
    rules = typer.Typer(help="告警规则 · Look at rules; prove them before they page anybody.", no_args_is_help=True)
    app.add_typer(rules, name="rules")
    for verb in (rules_check, rules_show):
        verb.register(rules)
