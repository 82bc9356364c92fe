"""People's channels, emergency contacts and gateways, and the notices as they are shown."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import asyncpg

from services.adapters.notices.reading import Q
from services.domain.notices import ChannelSort, Telephone, mask

Connection: TypeAlias = "asyncpg.Connection[Any]"
Row = Mapping[str, Any]

MOST_CHANNELS = 8
MOST_CONTACTS = 5
CODES_AN_HOUR = 5
"""A code goes to whatever address is given: nobody is to be pestered with them."""
CODE_LASTS = timedelta(minutes=15)


async def page(
    connection: Connection,
    *,
    community_id: str | None = None,
    recipient: str | None = None,
    order_id: UUID | None = None,
    state: str | None = None,
    unread: bool = False,
    now: datetime,
    after: tuple[datetime, UUID] | None = None,
    limit: int,
) -> list[Row]:
    """Newest first. `unread`: due, and not acknowledged."""
    at, last = after or (None, None)
    rows = await connection.fetch(Q["page"], community_id, recipient, order_id, state, unread, now, at, last, limit)
    return list(rows)


async def attempts(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, list[Row]]:
    found: dict[UUID, list[Row]] = {}
    for row in await connection.fetch(Q["attempts"], list(ids)):
        found.setdefault(row["notice_id"], []).append(row)
    return found


async def channels(connection: Connection, account_id: str) -> list[Row]:
    """Without addresses."""
    return list(await connection.fetch(Q["channels"], account_id))


async def home_of(connection: Connection, account_id: str) -> str | None:
    """The community whose gateways and clock serve the account."""
    found: str | None = await connection.fetchval(Q["home_of_account"], account_id)
    return found


async def staff_of(connection: Connection, community_id: str, account_id: str) -> Row | None:
    """Id and role of somebody who works in the community or on its street; None: there is nobody of that id."""
    row: Row | None = await connection.fetchrow(Q["staff_of"], community_id, account_id)
    return row


async def lock_account(connection: Connection, account_id: str) -> None:
    """One at a time, so that limits hold."""
    await connection.execute(Q["lock_account"], account_id)


async def add_channel(
    connection: Connection,
    channel_id: UUID,
    sort: ChannelSort,
    address: str,
    *,
    account_id: str | None = None,
    contact_id: UUID | None = None,
    position: int = 1,
    min_severity: str = "info",
    quiet: tuple[time, time] | None = None,
    language: str = "zh",
    verified_at: datetime | None = None,
) -> bool:
    """False: it is there already."""
    start, end = quiet or (None, None)
    made = await connection.fetchval(
        Q["insert_channel"], channel_id, account_id, contact_id, sort.value, address, mask(sort, address), position,
        min_severity, start, end, language, verified_at,
    )  # fmt: skip
    return made is not None


async def set_channel(connection: Connection, channel_id: UUID, account_id: str, *values: Any) -> bool:
    """Position, least severity, quiet from and to, language."""
    return await connection.fetchval(Q["set_channel"], channel_id, account_id, *values) is not None


async def delete_channel(connection: Connection, channel_id: UUID, account_id: str) -> bool:
    return await connection.fetchval(Q["delete_channel"], channel_id, account_id) is not None


def _code_hash(channel_id: UUID, code: str) -> bytes:
    return hashlib.sha256(channel_id.bytes + code.encode()).digest()


async def codes_left(connection: Connection, account_id: str, now: datetime) -> int:
    sent: int = await connection.fetchval(Q["codes_lately"], account_id, now - timedelta(hours=1))
    return max(0, CODES_AN_HOUR - sent)


async def send_code(
    connection: Connection, community_id: str, account_id: str, channel_id: UUID, now: datetime
) -> bool:
    """Puts a message with a new code into the queue, for this channel alone. False: verified already, or not theirs."""
    code = f"{secrets.randbelow(1_000_000):06d}"
    until = now + CODE_LASTS
    hashed = _code_hash(channel_id, code)
    if await connection.fetchval(Q["set_code"], channel_id, account_id, hashed, until) is None:
        return False
    await connection.execute(Q["insert_code"], uuid4(), community_id, account_id, channel_id, code, now, until)
    return True


async def verify(connection: Connection, account_id: str, channel_id: UUID, code: str, now: datetime) -> bool:
    """Each code may be tried five times; the caller commits even where this is False, so that tries count."""
    known: bytes | None = await connection.fetchval(Q["try_code"], channel_id, account_id, now)
    if known is None or not hmac.compare_digest(known, _code_hash(channel_id, code)):
        return False
    await connection.execute(Q["verified"], channel_id, now)
    return True


async def gateways(connection: Connection, community_id: str) -> list[Row]:
    return list(await connection.fetch(Q["gateways_shown"], community_id))


async def set_gateway(connection: Connection, community_id: str, sort: ChannelSort, template: str, by: str) -> None:
    await connection.execute(Q["set_gateway"], community_id, sort.value, template, by)


async def delete_gateway(connection: Connection, community_id: str, sort: ChannelSort) -> bool:
    return await connection.fetchval(Q["delete_gateway"], community_id, sort.value) is not None


async def contacts(connection: Connection, person_id: str) -> list[Row]:
    """In the order in which they are called; `phone` is masked, `address` the number itself."""
    return list(await connection.fetch(Q["contacts"], person_id))


async def contact_of(connection: Connection, contact_id: UUID) -> Row | None:
    row: Row | None = await connection.fetchrow(Q["contact_of"], contact_id)
    return row


async def hold_contacts(connection: Connection, person_id: str) -> None:
    """One change at a time of one person's contacts, to the end of the transaction."""
    await connection.execute(Q["lock_person"], person_id)


async def add_contact(
    connection: Connection,
    contact_id: UUID,
    person: Row,
    name: str,
    relation: str,
    phone: Telephone,
    position: int,
    language: str,
    by: str,
    now: datetime,
) -> bool:
    """Reached by message and call, or by call alone; whoever enters the number answers for it. False: there already."""
    made = await connection.fetchval(
        Q["insert_contact"], contact_id, person["community_id"], person["id"], name, relation, position, by
    )
    if made is None:
        return False
    sorts = (ChannelSort.SMS, ChannelSort.PHONE) if phone.takes_messages else (ChannelSort.PHONE,)
    for sort in sorts:
        await _contact_channel(connection, contact_id, sort, phone.number, language, now)
    return True


async def set_contact(
    connection: Connection,
    contact_id: UUID,
    name: str,
    relation: str,
    phone: Telephone | None,
    language: str,
    now: datetime,
) -> None:
    """`phone` None: the number stays as it is. A new one is not failing yet."""
    await connection.execute(Q["set_contact"], contact_id, name, relation)
    await connection.execute(Q["set_contact_language"], contact_id, language)
    if phone is None:
        return
    shown = mask(ChannelSort.PHONE, phone.number)
    await connection.execute(Q["drop_messages"], contact_id)
    await connection.execute(Q["set_contact_number"], contact_id, phone.number, shown, now)
    if phone.takes_messages:
        await _contact_channel(connection, contact_id, ChannelSort.SMS, phone.number, language, now)


async def _contact_channel(
    connection: Connection, contact_id: UUID, sort: ChannelSort, number: str, language: str, now: datetime
) -> None:
    place = 1 if sort is ChannelSort.SMS else 2
    await add_channel(
        connection, uuid4(), sort, number, contact_id=contact_id, position=place, language=language, verified_at=now
    )


async def order_contacts(connection: Connection, person_id: str, ids: Sequence[UUID]) -> None:
    """The first is called first; notices go to all of them."""
    await connection.execute(Q["order_contacts"], person_id, list(ids))


async def delete_contact(connection: Connection, contact_id: UUID) -> None:
    await connection.execute(Q["delete_contact"], contact_id)


async def by_token(connection: Connection, token: str, now: datetime) -> Row | None:
    """The notice that a link leads to; None for links that never were or are over."""
    row: Row | None = await connection.fetchrow(Q["by_token"], hashlib.sha256(token.encode()).digest(), now)
    return row


async def recipient_of(connection: Connection, notice_id: UUID) -> str | None:
    row = await connection.fetchrow(Q["notice_head"], notice_id)
    return None if row is None else str(row["recipient"])
