"""Staff with phones that never give a move up, and an oracle that holds every order to its own history and clocks."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx

from services.adapters.orders import fetch_history, order_row
from services.domain.orders import Entry, Move, Order, attention_at, fold, overdue
from services.domain.orders.clocks import schedule
from services.domain.orders.folding import apply
from tests.factory import PASSWORD

BY_TIME = frozenset({Move.WARN, Move.BREACH, Move.ESCALATE, Move.RESUME})
GIVE_UP_S = 120.0
"""A phone that has had no answer for so long says so."""


@dataclass(slots=True)
class Made:
    """What phones were told: a move by its key, made (200), refused (409, 422), and how often it was sent."""

    order: str
    move: str
    status: int
    sent: int


@dataclass(slots=True)
class Books:
    """Of all phones together."""

    moves: dict[str, Made] = field(default_factory=dict)
    opened: dict[str, str] = field(default_factory=dict)
    """Idempotency key → order."""
    again: int = 0
    """Sent again because no answer came."""

    def acknowledged(self) -> dict[str, Made]:
        return {key: made for key, made in self.moves.items() if made.status == 200}


class Phone:
    """Of one person. Each move has a key of its own and is sent until it is answered, as an offline queue would."""

    def __init__(self, base: Callable[[], str], username: str, books: Books, chance: random.Random) -> None:
        self._base, self.username, self._books, self._chance = base, username, books, chance
        self._http = httpx.AsyncClient(trust_env=False, timeout=3.0)
        self._token: str | None = None

    async def close(self) -> None:
        await self._http.aclose()

    async def _once(self, method: str, path: str, **more: Any) -> httpx.Response | None:
        """None: no answer that says anything of the request."""
        try:
            answer = await self._http.request(method, f"{self._base()}/api/v1/{path}", **more)
        except httpx.HTTPError:
            return None
        if answer.status_code == 401:
            self._token = None
            return None
        return None if answer.status_code >= 500 or answer.status_code == 429 else answer

    async def ask(self, method: str, path: str, *, key: str | None = None, **more: Any) -> tuple[httpx.Response, int]:
        """The answer, and how often it was sent. One in ten is sent twice at once: a double tap."""
        end = asyncio.get_running_loop().time() + GIVE_UP_S
        sent = 0
        while asyncio.get_running_loop().time() < end:
            if self._token is None:
                login = {"username": self.username, "password": PASSWORD}
                said = await self._once("POST", "auth/login", json=login)
                self._http.cookies.clear()
                self._token = said.json()["access_token"] if said is not None and said.is_success else None
            if self._token is not None:
                headers = {"Authorization": f"Bearer {self._token}"} | ({"Idempotency-Key": key} if key else {})
                taps = 2 if key and self._chance.random() < 0.1 else 1
                sent += taps
                answers = await asyncio.gather(
                    *(self._once(method, path, headers=headers, **more) for _ in range(taps))
                )
                answer = next((one for one in answers if one is not None), None)
                if answer is not None:
                    return answer, sent
                self._books.again += 1
            await asyncio.sleep(0.1)
        raise AssertionError(f"{self.username}: {method} {path} had no answer for {GIVE_UP_S:g} s")

    async def orders(self, community: str) -> list[dict[str, Any]]:
        answer, _ = await self.ask("GET", f"communities/{community}/orders", params={"state": "open", "limit": 100})
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    async def make(self, order: dict[str, Any], move: str, **fields: Any) -> int:
        """The status of the answer."""
        key = uuid4().hex
        body = {"move": move, "version": order["version"], **fields}
        answer, sent = await self.ask("POST", f"orders/{order['id']}/moves", key=key, json=body)
        assert answer.status_code in (200, 409, 422), (move, answer.status_code, answer.text)
        self._books.moves[key] = Made(order["id"], move, answer.status_code, sent)
        return answer.status_code

    async def show(self, order: dict[str, Any], picture: bytes) -> int:
        """A photo of the place, kept with the order; the status of the answer."""
        key = uuid4().hex
        answer, sent = await self.ask(
            "POST",
            f"orders/{order['id']}/evidence",
            key=key,
            params={"sort": "photo", "phase": "before"},
            files={"file": ("IMG_1.png", picture, "image/png")},
            timeout=15.0,
        )
        assert answer.status_code in (200, 409, 422), ("evidence", answer.status_code, answer.text)
        self._books.moves[key] = Made(order["id"], "evidence", answer.status_code, sent)
        return answer.status_code

    async def open(self, community: str, **body: Any) -> None:
        """An order opened by hand."""
        key = uuid4().hex
        answer, _ = await self.ask("POST", f"communities/{community}/orders", key=key, json=body)
        assert answer.is_success, answer.text
        self._books.opened[key] = answer.json()["id"]


@dataclass(frozen=True, slots=True)
class Outage:
    """Nobody could do what time made due: engine or database were away."""

    begin: datetime
    end: datetime


@dataclass(slots=True)
class Verdict:
    """What the histories say. Everything but `orders`, `moves`, `by_time` and the lateness must be empty."""

    orders: int = 0
    moves: int = 0
    by_time: int = 0
    torn: list[str] = field(default_factory=list)
    """Orders whose row is not the fold of their history."""
    early: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    unasked: list[str] = field(default_factory=list)
    """Done in the name of time, and time had made no such thing due."""
    latest_s: float = 0.0
    """The latest of what was due and done while all was well."""
    latest_after_restart_s: float = 0.0
    """The latest of what an outage kept waiting; the outage itself not counted."""

    @property
    def wrong_clocks(self) -> int:
        return len(self.early) + len(self.late) + len(self.missed) + len(self.unasked)


async def judge(
    connection: asyncpg.Connection[Any], now: datetime, outages: Sequence[Outage], within_s: float
) -> Verdict:
    """Every order of the database. What time makes due must be done within so long, an outage not counted."""
    verdict = Verdict()
    for row in await connection.fetch("SELECT * FROM work_order ORDER BY number"):
        stored = order_row(row)
        history = await fetch_history(connection, stored.id)
        verdict.orders += 1
        verdict.moves += len(history)
        order = fold(history)
        if order != stored.order or row["attention_at"] != attention_at(order):
            verdict.torn.append(f"#{stored.number}")
        clocks_of(verdict, stored.number, history, now, outages, within_s)
    return verdict


def clocks_of(
    verdict: Verdict, number: int, history: Sequence[Entry], now: datetime, outages: Sequence[Outage], within_s: float
) -> None:
    order: Order | None = None
    born: dict[str, datetime] = {}
    for entry in history:
        if order is not None:
            owed = {one.key: one for one in (*schedule(order), *overdue(order, entry.at))}
            if entry.move in BY_TIME and entry.actor_role == "system":
                verdict.by_time += 1
                one = owed.get(entry.idempotency_key or "")
                if one is None or one.key in order.taken:
                    verdict.unasked.append(f"#{number} v{entry.version} {entry.idempotency_key}")
                elif entry.at < one.at:
                    verdict.early.append(f"#{number} {one.key}")
                else:
                    since = max(one.at, born.get(one.key, one.at))
                    _lateness(verdict, f"#{number} {one.key}", since, entry.at, outages, within_s)
            _left_undone(verdict, number, order, born, entry.at, outages, within_s)
        order = apply(order, entry)
        for one in schedule(order):
            # A deadline that a move brought is not owed before it: what is resumed while amber is amber from then on.
            born.setdefault(one.key, entry.at)
    if order is not None:
        _left_undone(verdict, number, order, born, now, outages, within_s)


def _lateness(
    verdict: Verdict, what: str, at: datetime, done: datetime, outages: Sequence[Outage], within_s: float
) -> None:
    late_s = up_s(at, done, outages)
    if late_s < (done - at).total_seconds():
        verdict.latest_after_restart_s = max(verdict.latest_after_restart_s, late_s)
    else:
        verdict.latest_s = max(verdict.latest_s, late_s)
    if late_s > within_s:
        verdict.late.append(f"{what}: {late_s:.1f} s")


def _left_undone(
    verdict: Verdict,
    number: int,
    order: Order,
    born: Mapping[str, datetime],
    until: datetime,
    outages: Sequence[Outage],
    within_s: float,
) -> None:
    """What was owed long before this moment, and the order stood without it."""
    for one in schedule(order):
        since = max(one.at, born.get(one.key, one.at))
        if one.key not in order.taken and up_s(since, until, outages) > within_s:
            verdict.missed.append(f"#{number} {one.key} by {until:%H:%M:%S}")


def up_s(begin: datetime, end: datetime, outages: Sequence[Outage]) -> float:
    """Seconds from the one to the other in which nothing was away; 0 where end is not after begin."""
    seconds, at = 0.0, begin
    for outage in sorted(outages, key=lambda one: one.begin):
        if outage.end > at and outage.begin < end:
            seconds += max(0.0, (outage.begin - at).total_seconds())
            at = outage.end
    return seconds + max(0.0, (end - at).total_seconds())


async def moves_told(connection: asyncpg.Connection[Any], books: Books) -> tuple[list[str], list[str]]:
    """Keys of moves that phones were told of and that are not there (lost), and that are there twice (doubled)."""
    rows = await connection.fetch(
        "SELECT order_id, idempotency_key FROM work_order_history WHERE idempotency_key <> ''"
    )
    stored: Counter[str] = Counter()
    places: dict[str, UUID] = {}
    for row in rows:
        key = row["idempotency_key"].rpartition(":")[2]
        stored[key] += 1
        places[key] = row["order_id"]
    told = books.acknowledged()
    lost = [key for key, made in told.items() if str(places.get(key)) != made.order]
    return lost, [key for key in books.moves if stored[key] > 1]


async def every(seconds: float, work: Callable[[], Awaitable[object]], stop: asyncio.Event) -> None:
    """Again and again until told to stop."""
    while not stop.is_set():
        await work()
        await asyncio.sleep(seconds)
