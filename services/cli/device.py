"""`linhub device`: who exists, who may log in at the broker, and with which secret."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from services.adapters.registry import provision
from services.adapters.registry.provision import Fault, NewDevice, Provisioned, Secret
from services.cli import device_words
from services.cli.device_asking import actor, end, errors, ids_asked, profiles_in_use, tell_faults, with_database
from services.cli.device_file import device_of, rows_of
from services.cli.device_secrets import SecretsSheet, keeping
from services.cli.home import tr
from services.domain.profiles.mapper import Profiles

_TELL_EVERY = 500

app = typer.Typer(help="Devices: add, import, revoke, rotate, list, show.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="For programs.")]
SecretsFile = Annotated[
    Path | None, typer.Option("--secrets", help="Write new secrets here (CSV, readable by its owner alone).")
]


@app.command("add")
def add(
    device: Annotated[str, typer.Argument(help="Its id: small letters, digits, - and _; unique across communities.")],
    community: Annotated[str, typer.Option()],
    kind: Annotated[str, typer.Option(help="A kind of the device catalogue.")],
    name: Annotated[str, typer.Option()] = "",
    place: Annotated[str, typer.Option(help="Where people find it.")] = "",
    gateway: Annotated[str, typer.Option(help="The gateway it speaks through; it gets no secret then.")] = "",
    building: Annotated[str, typer.Option()] = "",
    unit: Annotated[str, typer.Option()] = "",
    household: Annotated[str, typer.Option()] = "",
    grid: Annotated[str, typer.Option()] = "",
    floor: Annotated[int | None, typer.Option()] = None,
    x: Annotated[float, typer.Option(help="Metres on the community's plan.")] = 0.0,
    y: Annotated[float, typer.Option()] = 0.0,
    interval_s: Annotated[int | None, typer.Option("--interval", help="Seconds between reports.")] = None,
    tags: Annotated[str, typer.Option(help="Separated by spaces.")] = "",
    codec: Annotated[str, typer.Option(help="The wire format it publishes in.")] = "native",
    address: Annotated[str, typer.Option(help="What its format calls it: meter number, DevEUI …")] = "",
    profile: Annotated[str, typer.Option(help="The vendor profile of its names and units.")] = "",
    secrets: SecretsFile = None,
    as_json: Json = False,
) -> None:
    """Register one device and let it log in. Its secret is shown once, or written to --secrets."""
    said = {
        **{"id": device, "community": community, "kind": kind, "name": name, "place": place, "gateway": gateway},
        **{"building": building, "unit": unit, "household": household, "grid": grid, "floor": floor, "x": x, "y": y},
        **{"interval_s": interval_s, "tags": tags, "codec": codec, "address": address, "profile": profile},
    }
    faults: list[Fault] = []
    profiles = profiles_in_use()
    new = device_of(0, said, faults, profiles)
    if new is None:
        tell_faults(faults, "")
        raise typer.Exit(1)
    told: list[Secret] = []
    sheet = SecretsSheet(secrets) if secrets else None

    async def one() -> AsyncIterator[NewDevice]:
        yield new

    def keep(made: list[Secret]) -> None:
        told.extend(made)
        if sheet is not None:
            sheet.keep(made)

    done = keeping(
        sheet,
        lambda: with_database(
            lambda db: provision.provision(db, one(), keep, actor=actor(), only_new=True, profiles=profiles)
        ),
    )
    secret = told[0].secret if told and sheet is None else None
    if as_json:
        where = str(sheet.path) if sheet is not None and told else None
        _out({"id": device, "added": done.added == 1, "secret": secret, "secrets_file": where, "revoked": done.revoked})
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(tr(f"{device} is registered", f"{device} 已登记"), markup=False)
    if secret is not None:
        console.print(tr(f"secret (shown once): {secret}", f"密钥（只显示一次）：{secret}"), markup=False)
    elif sheet is not None and told:
        console.print(tr(f"its secret is in {sheet.path}", f"密钥已写入 {sheet.path}"), markup=False)
    elif gateway:
        console.print(
            tr(f"it speaks through {gateway}, with that one's secret", f"经网关 {gateway} 上报，使用网关的密钥")
        )
    _tell_revoked(done.revoked)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A .csv with a head line, or a .yaml list.")],
    secrets: SecretsFile = None,
    as_json: Json = False,
) -> None:
    """Register or change all devices of a list, or none of them. Again keeps every secret."""
    if not file.is_file():
        end(tr(f"there is no file {file}", f"没有文件 {file}"), 2)
    profiles = profiles_in_use()
    sheet = SecretsSheet(secrets) if secrets else SecretsSheet.beside(file)
    with _bar() as progress:
        task = progress.add_task(device_words.step("reading"), total=file.stat().st_size)
        done = keeping(
            sheet, lambda: with_database(lambda db: _import(db, file, profiles, sheet, progress, task), str(file))
        )
    if as_json:
        where = str(sheet.path) if sheet.count else None
        _out({**asdict(done), "unchanged": done.unchanged, "secrets_file": where})
        return
    table = Table("", tr("devices", "设备数"), title=str(file))
    for en, zh, count in (
        ("added", "新增", done.added),
        ("changed", "更改", done.changed),
        ("as before", "未变", done.unchanged),
        ("new secrets", "新密钥", done.secrets),
    ):
        table.add_row(tr(en, zh), str(count))
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    if sheet.count:
        console.print(
            tr(f"secrets for the installers: {sheet.path}", f"供安装人员使用的密钥：{sheet.path}"), markup=False
        )
    _tell_revoked(done.revoked)


async def _import(
    connection: asyncpg.Connection[Any],
    file: Path,
    profiles: Profiles,
    sheet: SecretsSheet,
    progress: Progress,
    task: Any,
) -> Provisioned:
    faults: list[Fault] = []
    size = progress.tasks[task].total or 0

    async def devices() -> AsyncIterator[NewDevice]:
        behind, told = 0, 0

        def read(more: int) -> None:
            nonlocal behind
            behind += more

        for count, (line, said) in enumerate(rows_of(file, read)):
            if count % _TELL_EVERY == 0:
                progress.update(task, advance=behind - told)
                told = behind
            device = device_of(line, said, faults, profiles)
            if device is not None:
                yield device
        progress.update(task, completed=size)

    def tell(step: str, done: int, total: int) -> None:
        progress.update(task, description=device_words.step(step), total=total or None, completed=done)

    done = await provision.provision(
        connection, devices(), sheet.keep, actor=actor(), faults=lambda: faults, progress=tell, profiles=profiles
    )
    progress.update(task, description=device_words.step("done"), total=1, completed=1)
    return done


@app.command("revoke")
def revoke(
    devices: Annotated[list[str] | None, typer.Argument()] = None,
    file: Annotated[Path | None, typer.Option(help="Ids, one a line, or a CSV with a column id.")] = None,
    retire: Annotated[bool, typer.Option("--retire", help="Take them out of service as well.")] = False,
    as_json: Json = False,
) -> None:
    """Shut devices out of the broker; one that is connected is cut within seconds."""
    ids = ids_asked(devices, file)
    count = with_database(lambda db: provision.revoke(db, ids, actor=actor(), retire=retire), str(file) if file else "")
    if as_json:
        _out({"asked": len(ids), "revoked": count, "retired": retire})
        return
    Console(highlight=False).print(
        tr(
            f"{count} devices revoked; the broker follows within seconds",
            f"已吊销 {count} 台设备，数秒内在消息代理生效",
        )
    )


@app.command("rotate")
def rotate(
    devices: Annotated[list[str] | None, typer.Argument()] = None,
    file: Annotated[Path | None, typer.Option(help="Ids, one a line, or a CSV with a column id.")] = None,
    secrets: SecretsFile = None,
    readmit: Annotated[bool, typer.Option("--readmit", help="Let revoked ones in again.")] = False,
    as_json: Json = False,
) -> None:
    """Give devices new secrets. The old ones stop working within seconds: a device has one secret, not two, so
    have somebody at the device, or one that can be told from afar, before rotating."""
    ids = ids_asked(devices, file)
    told: list[Secret] = []
    sheet = SecretsSheet(secrets) if secrets else None
    if sheet is None and len(set(ids)) > 1:
        sheet = SecretsSheet.beside(file or Path("devices"))
    count = keeping(
        sheet,
        lambda: with_database(
            lambda db: provision.rotate(db, ids, sheet.keep if sheet else told.extend, actor=actor(), readmit=readmit),
            str(file) if file else "",
        ),
    )
    if as_json:
        where = str(sheet.path) if sheet else None
        _out({"rotated": count, "secret": told[0].secret if told else None, "secrets_file": where})
        return
    console = Console(highlight=False, soft_wrap=True)
    for one in told:
        console.print(tr(f"{one.id}: {one.secret} (shown once)", f"{one.id}：{one.secret}（只显示一次）"), markup=False)
    if sheet:
        console.print(tr(f"{count} new secrets: {sheet.path}", f"{count} 个新密钥：{sheet.path}"), markup=False)
    console.print(
        tr(
            "the old secret is void within seconds and its connection is cut; there is no overlap",
            "旧密钥数秒内失效并断开其连接；新旧密钥不会同时有效",
        )
    )


@app.command("list")
def list_(
    community: Annotated[str | None, typer.Option()] = None,
    kind: Annotated[str | None, typer.Option()] = None,
    gateway: Annotated[str | None, typer.Option()] = None,
    revoked: Annotated[bool | None, typer.Option("--revoked/--admitted", help="Only these.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="All where not given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One object a line.")] = False,
) -> None:
    """Devices by id, and whether they may log in."""
    table = Table()
    for words in device_words.COLUMNS:
        table.add_column(tr(*words), overflow="fold")

    async def work(connection: asyncpg.Connection[Any]) -> int:
        count = 0
        found = provision.listed(
            connection, community=community, kind=kind, gateway=gateway, revoked=revoked, limit=limit
        )
        async for row in found:
            count += 1
            if as_json:
                _out(row)
            else:
                table.add_row(*device_words.cells(row))
        return count

    count = with_database(work)
    if not as_json:
        Console(highlight=False).print(table)
        errors.print(tr(f"{count} devices", f"{count} 台设备"))


@app.command("show")
def show(device: Annotated[str, typer.Argument()], as_json: Json = False) -> None:
    """Everything about one device, except its secret, which nobody can read back."""

    async def work(connection: asyncpg.Connection[Any]) -> dict[str, Any] | None:
        async for row in provision.listed(connection, only=device, limit=1):
            return row
        return None

    row = with_database(work)
    if row is None:
        end(device_words.sentence(Fault(0, "unknown", device)))
    if as_json:
        _out(row)
        return
    table = Table(show_header=False)
    for name, value in row.items():
        table.add_row(name, device_words.login(value) if name == "login" else device_words.plain(value))
    Console(highlight=False).print(table)


def _tell_revoked(ids: Sequence[str]) -> None:
    if ids:
        shown = ", ".join(ids[:10]) + ("…" if len(ids) > 10 else "")
        errors.print(
            tr(
                f"still revoked, `linhub device rotate --readmit` lets them in: {shown}",
                f"仍为吊销状态，可用 linhub device rotate --readmit 重新准入：{shown}",
            ),
            style="yellow",
            markup=False,
        )


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _out(row: dict[str, Any]) -> None:
    typer.echo(json.dumps(row, ensure_ascii=False, default=device_words.plain))


def register(parent: typer.Typer) -> None:
    parent.add_typer(app, name="device")
