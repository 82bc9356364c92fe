"""`linhub city-sim`: a small city platform that receives, verifies and keeps events, and opens and follows cases."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar
from uuid import uuid4

import typer
from rich.console import Console
from rich.live import Live

from services.adapters.observe import serve
from services.cli.city_sim_above import Above, NotDone
from services.cli.city_sim_book import Book
from services.cli.city_sim_demo import joined, keep_asking
from services.cli.city_sim_mqtt import Broker, MqttReceiver, keep_up
from services.cli.city_sim_proof import Key, read_key
from services.cli.city_sim_receiver import Manners, Receiver
from services.cli.city_sim_screen import screen, showing, table

T = TypeVar("T")
cli = typer.Typer(help="A small city platform 城市平台, for drills, tests and trying out.", no_args_is_help=True)

BookFile = Annotated[Path, typer.Option("--book", help="The SQLite file that events are kept in.")]
KeyFile = Annotated[Path, typer.Option("--api-key", help="A file with the key of the service account.")]
Url = Annotated[str, typer.Argument(help="Where LinHub is, e.g. http://127.0.0.1:8080.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]


def register(app: typer.Typer) -> None:
    app.add_typer(cli, name="city-sim")


def _fail(said: object, code: int = 2) -> typer.Exit:
    Console(stderr=True).print(f"linhub: {said}", markup=False, style="red")
    return typer.Exit(code)


def _keys(path: Path) -> tuple[Key, ...]:
    """One a line; raises Exit."""
    try:
        keys = tuple(read_key(line.strip()) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, ValueError) as error:
        raise _fail(error) from None
    if not keys:
        raise _fail(f"{path}: no key in it 文件里没有密钥")
    return keys


def _secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise _fail(error) from None


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except (NotDone, OSError) as error:
        raise _fail(error, 1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


# ------------------------------------------------------------------ receiving


@cli.command()
def listen(
    keys: Annotated[Path | None, typer.Option(help="A file with whsec_… and whpk_… keys, one a line.")] = None,
    book: BookFile = Path("city-sim.db"),
    mqtt: Annotated[str | None, typer.Option(help="Receive by MQTT instead: mqtt://LOGIN@HOST:PORT.")] = None,
    topics: Annotated[str, typer.Option(help="With --mqtt: what to subscribe to, city/{subscription}/#.")] = "",
    secret: Annotated[Path | None, typer.Option(help="With --mqtt: a file with the login's secret.")] = None,
    against: Annotated[str | None, typer.Option(help="With --mqtt: a LinHub to pull from what is missing.")] = None,
    api_key: Annotated[Path | None, typer.Option("--api-key", help="A file with the key of the account.")] = None,
    every: Annotated[float, typer.Option(help="Seconds between two pulls.", min=1)] = 60.0,
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: any free one.")] = 8096,
    slow: Annotated[float, typer.Option(help="Seconds before each answer.", min=0)] = 0.0,
    refuse: Annotated[int | None, typer.Option(help="Answer everything with this status.", min=400, max=599)] = None,
    redirect: Annotated[str | None, typer.Option(help="Send everybody there.")] = None,
    lie: Annotated[bool, typer.Option("--lie", help="Say that events were kept, and keep none.")] = False,
    endless: Annotated[bool, typer.Option("--endless", help="Give answers that do not end.")] = False,
    down_after: Annotated[float | None, typer.Option(help="Hang up after so many seconds …", min=0)] = None,
    down_for: Annotated[float, typer.Option(help="… and be away for so many.", min=0)] = 60.0,
) -> None:
    """Receive webhooks, verify them, keep each once, and show lag, gaps and duplicates; or receive by MQTT. Ctrl-C ends
    it."""
    if mqtt is not None:
        _by_mqtt(book, mqtt, topics, secret, lie, against, api_key, every)
        return
    if keys is None:
        raise _fail("--keys or --mqtt is needed · 须给出 --keys 或 --mqtt")
    manners = Manners(slow, refuse, None, redirect, lie, endless)
    with contextlib.closing(Book(book)) as kept:
        away = (down_after, down_for) if down_after is not None else None
        _run(_listen(Receiver(kept, _keys(keys), manners), host, port, away))
        figures = kept.figures()
    Console().print(table(figures))


def _by_mqtt(
    book: Path, url: str, topics: str, secret: Path | None, lie: bool, against: str | None, api_key: Path | None,
    every_s: float,
) -> None:  # fmt: skip
    if secret is None or not topics:
        raise _fail("--mqtt needs --secret and --topics · --mqtt 须与 --secret、--topics 同用")
    if (against is None) != (api_key is None):
        raise _fail("--against needs --api-key · --against 须与 --api-key 同用")
    try:
        broker = Broker.of(url, _secret(secret), topics)
    except ValueError as error:
        raise _fail(error) from None
    above = Above(against, _secret(api_key)) if against is not None and api_key is not None else None
    with contextlib.closing(Book(book)) as kept:
        _run(_hear(MqttReceiver(kept, broker, lie=lie), above, topics, every_s))
        figures = kept.figures()
    Console().print(table(figures))


async def _hear(receiver: MqttReceiver, above: Above | None, topics: str, every_s: float) -> None:
    stop, console = asyncio.Event(), Console()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    work = [asyncio.create_task(receiver.run())]
    async with contextlib.AsyncExitStack() as stack:
        if above is not None:
            await stack.enter_async_context(above)
            work.append(asyncio.create_task(keep_up(receiver, above, topics.split("/")[1], every_s)))
        try:
            with Live(screen(receiver.book), console=console, refresh_per_second=4) as live:
                await showing(live, receiver.book, stop, None)
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
    if receiver.failed is not None:
        raise NotDone(f"the broker refuses the login 消息代理拒绝登录: {receiver.failed}")


async def _listen(receiver: Receiver, host: str, port: int, away: tuple[float, float] | None) -> None:
    stop, console = asyncio.Event(), Console()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with Live(screen(receiver.book), console=console, refresh_per_second=4) as live:
        while not stop.is_set():
            async with serve(receiver.app(), host, port) as bound:
                port = bound
                console.print(f"http://{host}:{bound}/", style="bold")
                await showing(live, receiver.book, stop, away[0] if away else None)
            if away is not None and not stop.is_set():
                console.print(f"离线 away for {away[1]:g} s", style="yellow")
                await showing(live, receiver.book, stop, away[1])
                away = None


@cli.command(hidden=True)
def demo(
    url: Url,
    database: Annotated[str, typer.Option(envvar="LINHUB_DATABASE_URL")],
    book: BookFile = Path("city-sim.db"),
    port: Annotated[int, typer.Option()] = 8096,
    every: Annotated[float, typer.Option(help="Seconds between two cases.")] = 300.0,
) -> None:
    """The platform of `linhub up --demo --city`: joins, receives, opens one case at a time, shows a page."""
    book.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.closing(Book(book)) as kept:
        _run(_demo(Receiver(kept, ()), url, database, port, every))


async def _demo(receiver: Receiver, url: str, database: str, port: int, every_s: float) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with (
        serve(receiver.app(), "127.0.0.1", port) as bound,
        joined(database, f"http://127.0.0.1:{bound}/hook") as there,
        Above(url, there.key) as above,
    ):
        receiver.keys = (read_key(there.signing),)
        asking = asyncio.create_task(keep_asking(above, there.community, every_s))
        try:
            await stop.wait()
        finally:
            asking.cancel()


@cli.command()
def figures(
    book: BookFile = Path("city-sim.db"),
    against: Annotated[str | None, typer.Option(help="A LinHub to pull from: what of it never came?")] = None,
    api_key: Annotated[Path | None, typer.Option("--api-key", help="A file with the key of the account.")] = None,
    subscription: Annotated[str | None, typer.Option(help="Which one, where the account has several.")] = None,
    cursor: Annotated[int, typer.Option(help="From this number on.", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """Say what was kept. With `--against`, exit code 1 where something of the subscription never came."""
    if not book.is_file():
        raise _fail(f"{book}: no such file 没有这个文件")
    with contextlib.closing(Book(book)) as kept:
        found, lost = kept.figures(), None
        if against is not None:
            if api_key is None:
                raise _fail("--against needs --api-key · --against 须与 --api-key 同用")
            lost = _run(_lost(kept, against, _secret(api_key), cursor, subscription))
    if as_json:
        typer.echo(json.dumps(found.as_dict() | ({} if lost is None else {"lost": lost}), ensure_ascii=False))
    else:
        Console().print(table(found))
        if lost is not None:
            Console().print(f"从未收到 never came: {len(lost)} {' '.join(lost[:20])}", style="red" if lost else "green")
    if lost:
        raise typer.Exit(1)


async def _lost(book: Book, url: str, key: str, after: int, subscription: str | None) -> list[str]:
    async with Above(url, key) as above:
        return [id async for page in above.ids(after, subscription) for id in book.lacks(page)]


# ------------------------------------------------------------------ asking


@cli.command("open")
def open_case(
    url: Url,
    community: Annotated[str, typer.Argument(help="Id of the community.")],
    title: Annotated[str, typer.Argument(help="What is wanted, in a line.")],
    api_key: KeyFile,
    place: Annotated[str, typer.Option(help="Where, in words.")],
    text: Annotated[str | None, typer.Option(help="More about it.")] = None,
    id: Annotated[str | None, typer.Option(help="Your own id; the same again opens nothing twice.")] = None,
    system: Annotated[str, typer.Option(help="hotline (12345) or city (城市运行管理服务平台).")] = "hotline",
    severity: Annotated[str, typer.Option(help="info, minor, major or critical.")] = "minor",
    follow: Annotated[bool, typer.Option("--follow", help="Stay until it is over.")] = False,
) -> None:
    """Open a case in a community and print its id."""
    case = {
        "community_id": community, "external_id": id or f"SIM-{uuid4().hex[:12]}", "system": system, "title": title,
        "place": place, "severity": severity, **({} if text is None else {"text": text}),
    }  # fmt: skip

    async def work() -> None:
        async with Above(url, _secret(api_key)) as above:
            made = await above.open(case)
            typer.echo(made["id"])
            if follow:
                await _follow(above, made["id"], 2.0)

    _run(work())


@cli.command("follow")
def follow_case(
    url: Url,
    case: Annotated[str, typer.Argument(help="Id of the case.")],
    api_key: KeyFile,
    every: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.1)] = 2.0,
) -> None:
    """Print each step of a case until it is over, then its result."""

    async def work() -> None:
        async with Above(url, _secret(api_key)) as above:
            await _follow(above, case, every)

    _run(work())


async def _follow(above: Above, id: str, every_s: float) -> None:
    told = 0
    async for case in above.follow(id, every_s):
        for step in case["steps"][told:]:
            typer.echo(f"{step['at'][:19]} {step['words']['zh']} {step['words']['en']} {step['reason'] or ''}".rstrip())
        told = len(case["steps"])
        if case["over"] and case["result"] is not None:
            typer.echo(f"结果 result: {case['result']['note'] or '–'}")


@cli.command()
def urge(
    url: Url,
    case: Annotated[str, typer.Argument(help="Id of the case.")],
    reason: Annotated[str, typer.Argument(help="Why.")],
    api_key: KeyFile,
) -> None:
    """Press for a case 督办."""

    async def work() -> None:
        async with Above(url, _secret(api_key)) as above:
            typer.echo((await above.urge(case, reason, uuid4().hex))["urges"])

    _run(work())


@cli.command()
def withdraw(
    url: Url,
    case: Annotated[str, typer.Argument(help="Id of the case.")],
    reason: Annotated[str, typer.Argument(help="Why.")],
    api_key: KeyFile,
) -> None:
    """Withdraw a case 撤单."""

    async def work() -> None:
        async with Above(url, _secret(api_key)) as above:
            typer.echo((await above.withdraw(case, reason))["words"]["zh"])

    _run(work())
