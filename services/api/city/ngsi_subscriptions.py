"""What NGSI-LD subscriptions are as their clients see them: bodies read, whose each is, its state and its counters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, NoReturn

from fastapi import Request

from services.adapters.city.ngsi.subscriptions import Q
from services.adapters.outward import read as read_target
from services.api.answers.shapes import Row
from services.api.city.ngsi import JSON, LD_JSON, NgsiError, not_there
from services.api.city.shared import own
from services.api.context import Context
from services.api.identity.auth import Ticket
from services.api.store.database import Connection
from services.api.store.tenancy import SERVICE
from services.api.web.problems import ApiError
from services.domain.city.ngsi.asking import Fault
from services.domain.city.ngsi.entity import text_of
from services.domain.city.ngsi.subscribing import HIDDEN, Subscription
from services.domain.vocabulary import Label

MOST = 50
"""Subscriptions of one account."""
_MERGE = "application/merge-patch+json"


@dataclass(frozen=True, slots=True)
class By:
    """With what it was made or changed: what is sent ends with it. `limits`: what it was given, None: everything."""

    key_id: str | None
    limits: list[str] | None


async def document_of(request: Request) -> dict[str, Any]:
    """The body. Raises NgsiError; ApiError 415 for another media type."""
    media_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    taken = (JSON, LD_JSON, _MERGE) if request.method == "PATCH" else (JSON, LD_JSON)
    if media_type not in taken:
        raise ApiError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"可用 {'、'.join(taken)} · Content-Type is one of {', '.join(taken)}"
        )
    try:
        found = json.loads(await request.body(), parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise NgsiError(Fault.INVALID_REQUEST, "请求体不是 JSON", "the body is no JSON") from None
    if not isinstance(found, dict):
        raise NgsiError(Fault.BAD_REQUEST_DATA, "请求体须为 JSON 对象", "the body has to be a JSON object")
    if (media_type == LD_JSON) is not ("@context" in found):
        raise NgsiError(
            Fault.BAD_REQUEST_DATA,
            f"@context 须且只须与 {LD_JSON} 同用",
            f"@context goes with {LD_JSON}, and with nothing else",
        )
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


async def made_by(context: Context, ticket: Ticket) -> By:
    """The key, or the client that opened the session."""
    limits = None if ticket.limits is None else sorted(one.value for one in ticket.limits)
    sort, _, key = ticket.token_id.partition(":")
    if sort == "key":
        return By(key, limits)
    async with context.database.read(as_=SERVICE) as connection:
        return By(await connection.fetchval(Q["client_session"], ticket.token_id), limits)


def check_address(one: Subscription) -> None:
    """Raises NgsiError. Where it leads is looked at each time it is called, since names change."""
    found = read_target(one.uri)
    if isinstance(found, Label):
        raise NgsiError(Fault.BAD_REQUEST_DATA, f"endpoint.uri：{found.zh}", f"endpoint.uri: {found.en}")


async def one(connection: Connection, ticket: Ticket, name: str, *, mine: bool = False) -> Row:
    """Raises NgsiError 404 for somebody else's; administrators see and end those of their scope. `mine`: to change."""
    whose = ticket.principal.id if mine else own(ticket)
    rows = await connection.fetch(Q["subscriptions"], whose, name, MOST, 0)
    # Several accounts of an administrator's scope may call theirs the same.
    rows = [row for row in rows if row["account_id"] == ticket.principal.id] or rows
    if not rows:
        raise not_there(name)
    row: Row = rows[0]
    return row


def shape(row: Row, now: datetime, context: str | None) -> dict[str, Any]:
    """ETSI GS CIM 009, 5.2.12. `context`: the address of the @context, where it goes into the body."""
    kept = row["document"]
    document: dict[str, Any] = dict(kept) if isinstance(kept, Mapping) else json.loads(kept)
    expired = row["expires_at"] is not None and row["expires_at"] <= now
    told = {
        "status": "failed" if row["failures"] else "ok",
        "timesSent": row["times_sent"],
        "timesFailed": row["times_failed"],
        "lastNotification": row["last_notification"],
        "lastSuccess": row["last_success"],
        "lastFailure": row["last_failure"],
        "lastErrorReason": row["state_why"] or row["last_error"],
    }
    endpoint = dict(document["notification"]["endpoint"])
    if row["header_names"]:
        endpoint["receiverInfo"] = [{"key": one, "value": HIDDEN} for one in row["header_names"]]
    notification = {**document["notification"], "endpoint": endpoint}
    for name, value in told.items():
        if value is not None:
            notification[name] = text_of(value) if isinstance(value, datetime) else value
    found = {
        "id": row["name"],
        **document,
        "notification": notification,
        "isActive": row["active"],
        "status": "expired" if expired else "active" if row["active"] else "paused",
        "createdAt": text_of(row["created_at"]),
        "modifiedAt": text_of(row["modified_at"]),
    }
    return found if context is None else found | {"@context": context}
