"""`linhub plans`: checks a linkage plan (预案) in a file, or rehearses one; nothing is written."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated
from uuid import UUID

import asyncpg
import typer
from rich.console import Console
from rich.table import Table

from services.adapters.plans.dry import NoSuchAlert, dry_run, dry_run_made_up
from services.adapters.plans.files import PlanFileError, load_defaults, parsed, read_file
from services.adapters.plans.store import newest_versions
from services.adapters.postgres import RETRYABLE
from services.cli.home import database_url, find_home
from services.domain.plans.document import dangerous
from services.domain.plans.plan import Plan
from services.domain.plans.rehearsal import Rehearsal
from services.domain.vocabulary import Severity

OK, FAULTY, CANNOT = 0, 1, 2
cli = typer.Typer(
    help="Linkage plans 预案: check one in a file, rehearse one. Nothing is written.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    app.add_typer(cli, name="plans")


@cli.command("check")
def check(files: Annotated[list[Path], typer.Argument(help="Plans in YAML.")]) -> None:
    """Check plans; every fault is named with its line. Exit code 1: there is one, 2: a file cannot be read."""
    out, err = Console(highlight=False), Console(stderr=True, highlight=False)
    faulty = False
    for path in files:
        try:
            text = read_file(path)
        except PlanFileError as error:
            err.print(str(error), markup=False, style="red")
            raise typer.Exit(CANNOT) from None
        for one in text.findings:
            err.print(one.said(str(path)), markup=False, style="red")
        if text.plan is None:
            faulty = True
            continue
        out.print(f"{path}: {text.plan.id} · {text.plan.title.zh} · {len(text.plan.steps)} 步 steps", markup=False)
        for name in dangerous(text.plan):
            out.print(f"  需批准 needs approval: {name}", markup=False)
    raise typer.Exit(FAULTY if faulty else OK)


@cli.command("dry-run")
def rehearse(
    plan: Annotated[str, typer.Argument(help="A plan's id, or a file.")],
    community: Annotated[str, typer.Option(help="Which community.")],
    alert: Annotated[UUID | None, typer.Option(help="An alert that was raised.")] = None,
    device: Annotated[str | None, typer.Option(help="With --rule: an alert that never was, about this device.")] = None,
    rule: Annotated[str | None, typer.Option(help="The rule that would have raised it.")] = None,
    severity: Annotated[Severity, typer.Option(help="How bad it would be.")] = Severity.CRITICAL,
    home: Annotated[Path | None, typer.Option(help="LINHUB_HOME.")] = None,
) -> None:
    """What a plan would do about an alert, when, and to whom. Exit code 1 where it would not start."""
    err = Console(stderr=True, highlight=False)
    if (alert is None) == (device is None) or (device is None) != (rule is None):
        err.print("linhub: 请给出 --alert，或 --device 与 --rule · give --alert, or --device and --rule", style="red")
        raise typer.Exit(CANNOT)
    url = os.environ.get("LINHUB_DATABASE_URL") or database_url(home or find_home())
    if url is None:
        err.print("linhub: no database; run `linhub up`, or set LINHUB_DATABASE_URL", style="red")
        raise typer.Exit(CANNOT)
    try:
        found = asyncio.run(_rehearse(url, plan, community, alert, device, rule, severity))
    except PlanFileError as error:
        err.print(str(error), markup=False, style="red")
        raise typer.Exit(CANNOT) from None
    except NoSuchAlert as missing:
        err.print(
            f"linhub: {community} 中找不到 {missing} · there is no {missing} in {community}", markup=False, style="red"
        )
        raise typer.Exit(CANNOT) from None
    except (*RETRYABLE, asyncpg.PostgresError) as error:
        err.print(f"linhub: the database does not answer: {error}", markup=False, style="red")
        raise typer.Exit(CANNOT) from None
    _show(found)
    raise typer.Exit(OK if found.starts else FAULTY)


async def _rehearse(
    url: str,
    name: str,
    community: str,
    alert: UUID | None,
    device: str | None,
    rule: str | None,
    severity: Severity,
) -> Rehearsal:
    connection = await asyncpg.connect(url)
    try:
        plan, version = await _find(connection, name, community)
        if alert is not None:
            return await dry_run(connection, community, plan, version, alert)
        return await dry_run_made_up(connection, community, plan, version, str(rule), str(device), severity)
    finally:
        await connection.close()


async def _find(connection: asyncpg.Connection[asyncpg.Record], name: str, community: str) -> tuple[Plan, int]:
    """A file, else the community's newest version, else the default. Raises PlanFileError."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        text = read_file(path)
        if text.plan is None:
            raise PlanFileError("\n".join(one.said(name) for one in text.findings))
        return text.plan, 0
    rows = await newest_versions(connection, community, name)
    if rows and rows[0]["mode"] != "removed":
        return parsed(rows[0]["document"]), rows[0]["version"]
    if name in load_defaults():
        return load_defaults()[name].plan, 0
    there = ", ".join(load_defaults())
    raise PlanFileError(f"没有预案 {name} · no plan {name}; the defaults: {there}")


def _show(found: Rehearsal) -> None:
    out = Console(highlight=False)
    table = Table(title="演练 dry run" if found.starts else f"不会启动 would not start: {found.why_not}")
    for column in ("秒 s", "步骤 step", "动作 action", "对象 to", "在线 online"):
        table.add_column(column)
    for one in found.happenings:
        what = one.what
        word = next(iter(what))
        said = what[word]["zh"] if isinstance(what[word], dict) else str(what[word])
        to = str(what.get("device") or ", ".join(what.get("people", what.get("devices", ()))[:6]))
        online = {True: "是 yes", False: "否 no", None: ""}[what.get("online")]
        table.add_row(f"{one.after_ms / 1000:g}", one.step, f"{word}: {said}", to, online)
    out.print(table)
    for step, why in found.troubles:
        out.print(f"{step}: {why}", markup=False, style="yellow")
