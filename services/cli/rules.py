"""`linhub rules`: prove rules before they page anybody."""

from __future__ import annotations

import typer

from services.cli import rules_backtest, rules_diff, rules_test


def register(app: typer.Typer) -> None:
    rules = typer.Typer(help="规则的验证 · Prove rules before they page anybody.", no_args_is_help=True)
    app.add_typer(rules, name="rules")
    for verb in (rules_test, rules_backtest, rules_diff):
        verb.register(rules)
