"""`linhub rules`: look at rules, and prove them before they page anybody."""

from __future__ import annotations

import typer

from services.cli import rules_backtest, rules_check, rules_diff, rules_show, rules_test


def register(app: typer.Typer) -> None:
    rules = typer.Typer(help="告警规则 · Look at rules; prove them before they page anybody.", no_args_is_help=True)
    app.add_typer(rules, name="rules")
    for verb in (rules_check, rules_show, rules_test, rules_backtest, rules_diff):
        verb.register(rules)
