"""The audit trail (审计): who did what to whom, as far as the asker's scope reaches."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from services.adapters import audit as trail
from services.api.access.models import AuditOut, AuditPage, AuditSearchIn, ChainOut
from services.api.common import PREFIX, PROBLEMS, Cursor, Limit
from services.api.context import Context, Ctx
from services.api.guard import needs
from services.api.identity.auth import Ticket
from services.api.routes.keys import reach_of
from services.api.store import access
from services.api.store.access import AuditFilter
from services.api.store.tenancy import SERVICE
from services.api.web import cursor
from services.domain.access import Permission, Principal

router = APIRouter(prefix=PREFIX, tags=["audit 审计"], responses=PROBLEMS)

WALKED = 2000
"""Lines that one question walks: a day or more of a community, a fraction of a second of the database."""

Text = Annotated[str | None, Query(max_length=128, pattern=r"^[^\x00]*$")]


@router.get("/audit", summary="审计记录 The audit trail, newest first")
async def audit(
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.AUDIT)],
    actor: Annotated[Text, Query(description="账号编号 id of an account")] = None,
    action: Annotated[Text, Query(description="开头 beginning, such as `key.`")] = None,
    subject: Annotated[Text, Query(description="开头 beginning, such as `device:`")] = None,
    since: Annotated[AwareDatetime | None, Query(alias="from")] = None,
    until: Annotated[AwareDatetime | None, Query(alias="to")] = None,
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 100,
) -> AuditPage:
    """Accounts bound to a community or street see its lines alone; `linhub audit verify` proves the chain.

    By the name of whoever did it: `POST /audit/search`, for an address is kept by proxies and a body is not."""
    wanted = AuditFilter(actor or None, action or None, subject or None, since, until)
    return await _found(context, ticket.principal, wanted, after, limit)


@router.post("/audit/search", summary="查找审计记录 The same, by the name of who did it")
async def search(body: AuditSearchIn, context: Ctx, ticket: Annotated[Ticket, needs(Permission.AUDIT)]) -> AuditPage:
    """It changes nothing, and is not written down itself."""
    wanted = AuditFilter(
        body.actor or None, body.action or None, body.subject or None, body.from_, body.to, by_name=True
    )
    return await _found(context, ticket.principal, wanted, body.cursor, body.limit)


async def _found(context: Context, who: Principal, wanted: AuditFilter, after: str | None, limit: int) -> AuditPage:
    key = cursor.decode(after, 1)
    if key is not None and not (key[0].isascii() and key[0].isdecimal() and len(key[0]) < 19):
        raise cursor.refused()
    async with context.database.read() as connection:
        rows = await access.audit_page(
            connection, reach_of(who), wanted, before=int(key[0]) if key else None, limit=limit + 1
        )
    page = rows[:limit]
    more = cursor.encode(page[-1]["id"]) if len(rows) > limit else None
    return AuditPage(items=[AuditOut(**row) for row in page], next=more)


@router.get("/audit/chain", summary="审计链核验 Whether the newest lines are one unbroken chain")
async def chain(context: Ctx, ticket: Annotated[Ticket, needs(Permission.AUDIT)]) -> ChainOut:
    """Walks the newest lines, of all communities alike, and says where it breaks; of what the lines say, nothing.

    `linhub audit verify` walks all of them, and compares them with what was noted elsewhere.
    """
    # A chain is of all lines: those of one community alone have holes.
    async with context.database.consistent(as_=SERVICE) as connection:
        newest = await trail.head(connection)
        first = max(1, newest.id - WALKED + 1) if newest is not None else 1
        verdict = await trail.verify(connection, from_id=first)
    return ChainOut(
        at=context.clock.now(),
        from_id=first,
        rows=verdict.rows,
        head_id=newest.id if newest is not None else None,
        head_hash=newest.hash.hex() if newest is not None else None,
        wrong_id=verdict.found.id if verdict.found is not None else None,
        fault=verdict.found.fault if verdict.found is not None else None,
    )
