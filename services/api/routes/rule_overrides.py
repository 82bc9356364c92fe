"""What is set for one device or one person in a rule: a limit of their own, by version like the rules themselves."""

from __future__ import annotations

from typing import Annotated

import structlog
from fastapi import APIRouter, Request
from starlette.responses import Response

from services.adapters.outbox import Outgoing, append
from services.adapters.rules import KINDS, Finding, store
from services.api.answers.health import about_health
from services.api.answers.shapes import Row
from services.api.common import PREFIX, PROBLEMS, answer
from services.api.context import Ctx
from services.api.guard import in_scope, needs
from services.api.identity.auth import Ticket
from services.api.routes.rules import CHANGES
from services.api.rules.models import OverrideChangedOut, OverrideIn, OverrideOut
from services.api.rules.shared import check_may, in_force, override_out, refuse, refuse_faults
from services.api.store import Q, system
from services.api.store import communities as communities_store
from services.api.store.database import Connection
from services.api.web.preconditions import etag, expected_version, stale
from services.api.web.problems import not_found
from services.domain.access import Permission, Principal
from services.domain.rules.document import read_changes
from services.domain.rules.editing import Standing
from services.domain.vocabulary import Label

log = structlog.get_logger(__name__)
router = APIRouter(prefix=PREFIX, tags=["rules 规则"], responses=PROBLEMS)
_OF_DEVICE = "/devices/{device_id}/rules/{rule_id}/override"
_OF_PERSON = "/people/{person_id}/rules/{rule_id}/override"


@router.get(_OF_DEVICE, response_model=OverrideOut, summary="设备的单独设置 What is set for a device")
async def of_device(
    device_id: str, rule_id: str, context: Ctx, ticket: Annotated[Ticket, needs(Permission.RULE_EDIT)]
) -> Response:
    async with context.database.write() as connection:
        row = await _device(connection, ticket.principal, device_id)
        return await _read(connection, ticket.principal, row["community_id"], f"device:{device_id}", rule_id)


@router.get(_OF_PERSON, response_model=OverrideOut, summary="个人的单独设置 What is set for a person")
async def of_person(
    person_id: str, rule_id: str, context: Ctx, ticket: Annotated[Ticket, needs(Permission.RULE_EDIT)]
) -> Response:
    async with context.database.write() as connection:
        row = await _person(connection, ticket.principal, person_id)
        return await _read(connection, ticket.principal, row["community_id"], f"person:{person_id}", rule_id)


@router.put(_OF_DEVICE, summary="为设备单独设置 Set something for a device", responses=CHANGES)
async def put_of_device(
    device_id: str,
    rule_id: str,
    body: OverrideIn,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.RULE_EDIT)],
    response: Response,
) -> OverrideChangedOut:
    async with context.database.write() as connection:
        row = await _device(connection, ticket.principal, device_id)
        standing = await _rule(connection, row["community_id"], rule_id)
        if standing.kind != row["kind"]:
            raise refuse(
                Label(f"{rule_id} 不看 {row['kind']}", f"{rule_id} watches {standing.kind}, this is a {row['kind']}")
            )
        out = await _write(
            connection, ticket.principal, row["community_id"], f"device:{device_id}", standing, body, request
        )
    response.headers.update(etag(out.override.version))
    return out


@router.put(_OF_PERSON, summary="为个人单独设置 Set something for a person", responses=CHANGES)
async def put_of_person(
    person_id: str,
    rule_id: str,
    body: OverrideIn,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.RULE_EDIT)],
    response: Response,
) -> OverrideChangedOut:
    async with context.database.write() as connection:
        row = await _person(connection, ticket.principal, person_id)
        standing = await _rule(connection, row["community_id"], rule_id)
        out = await _write(
            connection, ticket.principal, row["community_id"], f"person:{person_id}", standing, body, request
        )
    response.headers.update(etag(out.override.version))
    return out


async def _device(connection: Connection, who: Principal, device_id: str) -> Row:
    found = await communities_store.device(connection, device_id)
    return await in_scope(connection, who, found, "device", device_id)


async def _person(connection: Connection, who: Principal, person_id: str) -> Row:
    return await in_scope(connection, who, await connection.fetchrow(Q["person_by_id"], person_id), "person", person_id)


async def _rule(connection: Connection, community_id: str, rule_id: str) -> Standing:
    standing = await store.load_standing(connection, community_id, rule_id)
    if standing is None:
        raise not_found("rule", rule_id)
    return standing


def _private(subject: str, rule_id: str) -> bool:
    return about_health(rule_id) or subject.startswith("person:")


async def _read(connection: Connection, who: Principal, community_id: str, subject: str, rule_id: str) -> Response:
    await _rule(connection, community_id, rule_id)
    row = await store.newest_override(connection, subject, rule_id)
    if row is not None and _private(subject, rule_id):
        await system.audit(connection, who, community_id, "health.read", subject, {"purpose": "rules", "rule": rule_id})
    response = answer(override_out(subject, rule_id, row))
    response.headers.update(etag(row["version"] if row is not None else 0))
    return response


async def _write(
    connection: Connection,
    who: Principal,
    community_id: str,
    subject: str,
    standing: Standing,
    body: OverrideIn,
    request: Request,
) -> OverrideChangedOut:
    rule_id = standing.rule.id
    check_may(who, standing.life_safety)
    before = await store.newest_override(connection, subject, rule_id)
    newest = before["version"] if before is not None else 0
    if expected_version(request) != newest:
        raise stale(newest, None)
    if body.parameters is not None:
        _, faults = read_changes(standing.rule, KINDS[standing.kind], body.parameters)
        refuse_faults(Finding(0, 0, f"parameters.{fault.where}".rstrip("."), fault.words) for fault in faults)
    added = await store.add_override(
        connection,
        community_id,
        subject,
        rule_id,
        version=newest + 1,
        parameters=body.parameters,
        by=who.id,
        note=body.note,
    )
    if not added:
        raise stale(newest + 1, None)
    row = await store.newest_override(connection, subject, rule_id)
    told = await in_force(connection, community_id)
    # Of vitals the figures are health data; which of them were set is enough here.
    detail = {
        "rule": rule_id,
        "version": newest + 1,
        "fields": sorted(body.parameters or {}),
        "note": body.note,
    }
    await system.audit(connection, who, community_id, "rule.override", subject, detail)
    data = {"rule_id": rule_id, "kind": standing.kind, "override": subject.partition(":")[0], "version": newest + 1}
    await append(connection, [Outgoing("rule.changed", community_id, rule_id, "", data)])
    log.info("rule_override_changed", community=community_id, rule=rule_id, version=newest + 1, by=who.id)
    return OverrideChangedOut(override=override_out(subject, rule_id, row), in_force=told)
