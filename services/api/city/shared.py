"""What routes of city events share: whose subscriptions somebody sees, and a subscription's events page by page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from uuid import UUID

from services.adapters.broker_identity import new_login, new_secret, secret_hash
from services.adapters.city.reading import AheadOfOutbox, Page, Q, Wanted, made, page, wanted
from services.api.answers.shapes import Row
from services.api.city.models import BrokerLoginOut, NewBrokerLoginOut, ProgressOut, SubscriptionOut
from services.api.context import Context
from services.api.identity.auth import Ticket
from services.api.store import system
from services.api.store.database import Connection
from services.api.store.tenancy import SERVICE
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission, Principal
from services.domain.city import CityEvent, SubscriptionState, Way
from services.domain.city.mqtt import folder

_TURN_S = 10.0


@dataclass(frozen=True, slots=True)
class Events:
    """A page of events; `cursor` moves on also where nothing fitted."""

    items: list[CityEvent]
    page: Page


async def one(connection: Connection, ticket: Ticket, subscription_id: UUID) -> Row:
    """Raises 404 for somebody else's subscription: administrators see those of their scope, others their own."""
    rows = await connection.fetch(Q["subscriptions"], subscription_id, own(ticket), None, None, 1)
    if not rows:
        raise not_found("subscription", subscription_id)
    row: Row = rows[0]
    return row


def own(ticket: Ticket) -> str | None:
    return None if ticket.may(Permission.CITY_EDIT) else ticket.principal.id


async def chosen(connection: Connection, ticket: Ticket, subscription_id: UUID | None) -> Row:
    """The one named, or the only one the account has. Events are for the account they were granted to, and nobody else:
    an administrator who grants classes does not read by them. Raises ApiError 404 or 409."""
    if subscription_id is None:
        rows = await connection.fetch(Q["of_account"], ticket.principal.id)
        if len(rows) != 1:
            raise ApiError(
                HTTPStatus.CONFLICT,
                "该账号没有或有多个订阅，请用 subscription 指明 · "
                "the account has none or several subscriptions: name one",
            )
        subscription_id = rows[0]["id"]
    rows = await connection.fetch(Q["subscriptions"], subscription_id, ticket.principal.id, None, None, 1)
    if not rows:
        raise not_found("subscription", subscription_id)
    row: Row = rows[0]
    return row


def base_of(context: Context) -> str:
    return (context.settings.public_url or "").rstrip("/")


async def events(context: Context, subscription_id: UUID, after: int, limit: int) -> Events:
    """Raises ApiError 404 or 409 where it is not to be read, 410 for a cursor that is not of this outbox.

    The outbox is read as the service: which communities are in it was worked out from the account as it is now.
    """
    async with _turn(context.city_reads), context.database.read(as_=SERVICE) as connection:
        asked = await wanted(connection, subscription_id)
        if asked is None:
            raise not_found("subscription", subscription_id)
        check_active(asked)
        try:
            found = await page(connection, asked, after, limit)
        except AheadOfOutbox as error:
            raise ApiError(
                HTTPStatus.GONE,
                f"游标超前：最新事件为 {error.head} · the cursor is ahead of the newest event, which is {error.head}",
            ) from None
        pairs = await made(connection, asked, found.rows, base_of(context))
    return Events([event for _, event in pairs if event is not None], found)


@asynccontextmanager
async def _turn(reads: asyncio.Semaphore) -> AsyncIterator[None]:
    """Raises TimeoutError, which is answered by 503, where it does not come."""
    async with asyncio.timeout(_TURN_S):
        await reads.acquire()
    try:
        yield
    finally:
        reads.release()


def check_active(asked: Wanted) -> None:
    if not asked.heard:
        raise ApiError(HTTPStatus.FORBIDDEN, "该账号无权接收事件 · the account may not hear of events")
    if asked.state is not SubscriptionState.ACTIVE:
        raise ApiError(
            HTTPStatus.CONFLICT,
            f"订阅已停止（{asked.state.value}），请联系管理员 · "
            f"the subscription is {asked.state.value}; ask the administrator",
        )


async def audit(connection: Connection, who: Principal, row: Row, action: str, detail: dict[str, Any]) -> None:
    """Of a subscription, in its community's books; call it last in the transaction."""
    await system.audit(connection, who, row["community_id"], action, f"city:{row['id']}", detail)


async def new_broker_login(
    connection: Connection, context: Context, subscription_id: UUID, who: Principal
) -> NewBrokerLoginOut:
    """Another login of a subscription that is delivered by MQTT."""
    name, secret = new_login(), new_secret()
    await connection.execute(Q["insert_login"], name, subscription_id, secret_hash(secret), who.id)
    made = next(one for one in await connection.fetch(Q["logins"], subscription_id) if one["name"] == name)
    login = BrokerLoginOut(**dict(made))
    return NewBrokerLoginOut(login=login, secret=secret, topics=topics(subscription_id), address=address(context))


def topics(subscription_id: UUID) -> str:
    return f"{folder(str(subscription_id))}/#"


def address(context: Context) -> str | None:
    return context.settings.city_mqtt_url


async def confirm(context: Context, row: Row, cursor: int | None) -> None:
    """Whoever asks for what is behind a number has what is before it. What an MQTT subscriber has the broker does not
    tell, so this is how it is known. Writes where the number moved on."""
    if Way(row["way"]) is Way.MQTT and cursor is not None and cursor > row["confirmed"]:
        async with context.database.write() as connection:
            await connection.execute(Q["confirm"], row["id"], cursor, context.clock.now())


def shape(row: Row) -> SubscriptionOut:
    progress = ProgressOut(**{name: row[name] for name in ProgressOut.model_fields})
    return SubscriptionOut(
        **{name: row[name] for name in SubscriptionOut.model_fields if name != "progress"}, progress=progress
    )
