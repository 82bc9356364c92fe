"""`linhub rules show`: the rules in force, of the defaults or of one community, as a list or as text."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Annotated, Any

import asyncpg
import typer
from rich.console import Console
from rich.table import Table

from services.adapters.rules import effective, load_defaults, load_rules
from services.cli.home import database_url, find_home
from services.domain.rules.document import kind_name
from services.domain.rules.editing import Origin, Standing
from services.domain.rules.writing import plain_rule, write_rule


class Refused(Exception):
    """Why it cannot be shown, for people."""


def of_defaults() -> list[Standing]:
    return [
        Standing(kind, rule, Origin.DEFAULT, rule.version, rule)
        for kind, rules in load_defaults().items()
        for rule in rules
    ]


async def of_community(url: str, community_id: str) -> list[Standing]:
    """Raises Refused where there is no such community."""
    connection = await asyncpg.connect(url)
    try:
        if not await connection.fetchval("SELECT EXISTS (SELECT FROM community WHERE id = $1)", community_id):
            raise Refused(f"没有这个社区 · there is no community {community_id}")
        return list(effective(await load_rules(connection, None, community_id), community_id).values())
    finally:
        await connection.close()


def _chosen(standings: Iterable[Standing], rule: str | None, kind: str | None) -> list[Standing]:
    return [one for one in standings if (rule is None or one.rule.id == rule) and (kind is None or one.kind == kind)]


def _plain(one: Standing) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "origin": one.origin.value,
        "newest": one.newest,
        "problem": one.why_not or None,
        "rule": plain_rule(one.rule),
    }


def _table(standings: Iterable[Standing]) -> Table:
    table = Table(box=None)
    table.add_column("规则 rule", no_wrap=True)
    for head in ("标题 title", "类型 when", "级别 severity", "状态 mode", "来源 origin", "版本 version"):
        table.add_column(head)
    for one in standings:
        rule = one.rule
        table.add_row(
            rule.id + (" ⚠" if one.why_not else ""),
            rule.title.zh,
            kind_name(type(rule.parameters)),
            rule.severity.value,
            rule.mode.value,
            one.origin.value,
            str(rule.version),
        )
    return table


def register(app: typer.Typer) -> None:
    @app.command(name="show")
    def show(
        rule: Annotated[str | None, typer.Argument(help="规则编号 · one rule, as text")] = None,
        community: Annotated[str | None, typer.Option(help="社区 · of this community; else the defaults")] = None,
        kind: Annotated[str | None, typer.Option(help="设备类型 · of this kind of device alone")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    ) -> None:
        """Show the rules in force: a list, or one of them as the YAML it is."""
        try:
            found = _chosen(_load(community), rule, kind)
            if not found:
                raise Refused("没有这样的规则 · there is no such rule")
        except Refused as error:
            typer.echo(f"linhub: {error}", err=True)
            raise typer.Exit(1) from None
        if as_json:
            typer.echo(json.dumps([_plain(one) for one in found], ensure_ascii=False))
        elif rule is not None:
            typer.echo(write_rule(found[0].kind, found[0].rule), nl=False)
            if found[0].why_not:
                typer.echo(f"# ⚠ v{found[0].newest}: {found[0].why_not}", err=True)
        else:
            Console().print(_table(found))


def _load(community: str | None) -> list[Standing]:
    if community is None:
        return of_defaults()
    try:
        url = database_url(find_home())
    except ValueError as error:
        raise Refused(str(error)) from None
    if url is None:
        raise Refused("no database yet: run `linhub up`, or set LINHUB_DATABASE_URL")
    try:
        return asyncio.run(of_community(url, community))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Refused(f"the database does not answer: {error or type(error).__name__}") from None
