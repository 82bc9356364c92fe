"""The command line `linhub`: one file a verb."""

from __future__ import annotations

import typer

from services.cli import (
    audit,
    bench,
    city_sim,
    device,
    doctor,
    down,
    evidence,
    identity,
    init,
    meter,
    migrate,
    notices,
    orders,
    person,
    plans,
    report_month,
    rules,
    seed,
    simulate,
    status,
    up,
)

VERBS = (
    up,
    down,
    status,
    doctor,
    migrate,
    init,
    identity,
    device,
    meter,
    evidence,
    audit,
    rules,
    plans,
    orders,
    person,
    notices,
    report_month,
    seed,
    simulate,
    city_sim,
    bench,
)

app = typer.Typer(
    name="linhub",
    help="LinHub 邻枢: sensing and response for smart communities (智慧社区).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for verb in VERBS:
    verb.register(app)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
