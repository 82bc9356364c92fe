"""Devices in the registry: listed with filters, made, changed one by one or many at once, retired, given secrets."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from services.adapters.registry import editing, provision
from services.adapters.registry.places import E
from services.adapters.registry.provision import Faulty, Secret
from services.api.common import PREFIX, PROBLEMS, Cursor, Limit, OnceKey
from services.api.context import Ctx
from services.api.guard import community_in_scope, needs
from services.api.identity.auth import Ticket
from services.api.registry.models import (
    DeviceChange,
    DeviceChanges,
    DeviceIn,
    DeviceMade,
    DevicesChanged,
    RegisteredDevice,
    RegisteredDevicePage,
    VersionOf,
)
from services.api.registry.shared import (
    REGISTRAR,
    Row,
    device_out,
    locked,
    refused_faults,
    remember,
    same_as_before,
    secret_out,
    write_devices,
)
from services.api.routes.registry_places import EDITED, TAKEN
from services.api.store import system
from services.api.store.database import Connection
from services.api.web import cursor
from services.api.web.preconditions import etag, expected_version
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission, Principal

router = APIRouter(prefix=f"{PREFIX}/communities/{{community_id}}/registry", tags=["registry 档案"], responses=PROBLEMS)

Word = Annotated[str | None, Query(max_length=100)]
_NOTED = 200


@router.get("/devices", summary="设备档案列表 Devices of the registry, by id")
async def devices(
    community_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.REGISTRY)],
    kind: Word = None,
    building_id: Word = None,
    grid_id: Word = None,
    gateway_id: Word = None,
    tag: Word = None,
    retired: Annotated[bool | None, Query(description="false by default; true: only the retired")] = False,
    offline: bool | None = None,
    unplaced: Annotated[bool | None, Query(description="未落图 not on the plan yet")] = None,
    text: Annotated[str | None, Query(max_length=100, description="编号、名称、位置或地址含 what it contains")] = None,
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 200,
) -> RegisteredDevicePage:
    key = cursor.decode(after, 1)
    total = None
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        rows = await editing.devices_page(
            connection,
            community_id,
            after=key[0] if key else None,
            kind=kind,
            building=building_id,
            grid=grid_id,
            gateway=gateway_id,
            tag=tag,
            retired=retired,
            offline=offline,
            unplaced=unplaced,
            text=text,
            limit=limit + 1,
        )
        if key is None:
            filters = (kind, building_id, grid_id, gateway_id, tag, retired, offline, unplaced, text)
            total = await connection.fetchval(E["devices_total"], community_id, *filters)
    page = rows[:limit]
    more = cursor.encode(page[-1]["id"]) if len(rows) > limit else None
    return RegisteredDevicePage(items=[device_out(row) for row in page], next=more, total=total)


async def _one(connection: Connection, community_id: str, device_id: str) -> Row:
    rows = await editing.devices_by_id(connection, community_id, [device_id])
    if device_id not in rows:
        raise not_found("device", device_id)
    return rows[device_id]


@router.get("/devices/{device_id}", summary="一台设备的档案 One device in full")
async def device(
    community_id: str,
    device_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.REGISTRY)],
    response: Response,
) -> RegisteredDevice:
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        row = await _one(connection, community_id, device_id)
    response.headers.update(etag(row["version"]))
    return device_out(row)


@router.post("/devices", status_code=201, summary="新建设备 Register a device", responses=TAKEN)
async def add_device(
    community_id: str,
    body: DeviceIn,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.REGISTRY_EDIT)],
    response: Response,
    key: OnceKey = None,
) -> DeviceMade:
    """It may log in at the broker within seconds. Its secret is in this answer alone."""
    who, asked = ticket.principal, body.model_dump_json()
    secrets: list[Secret] = []
    async with context.database.write(as_=REGISTRAR) as connection:
        await community_in_scope(connection, who, community_id)
        if await same_as_before(connection, who, community_id, key, asked) is None:
            wish = body.model_dump(exclude_unset=True)
            secrets = await write_devices(connection, who, community_id, {body.id: wish}, {}, context.settings.profiles)
            subject = f"device:{body.id}"
            await remember(connection, who, community_id, key, asked, subject)
            await system.audit(connection, who, community_id, "device.create", subject, wish)
        row = await _one(connection, community_id, body.id)
    response.headers.update(etag(row["version"]))
    return DeviceMade(device=device_out(row), secret=secrets[0].secret if secrets else None)


async def _change(
    connection: Connection, context: Ctx, who: Principal, community_id: str, wishes: dict[str, dict[str, Any]],
    seen: dict[str, int],
) -> tuple[dict[str, Row], list[Secret]]:  # fmt: skip
    """All of them or none; the rows as they are then."""
    known = await locked(connection, community_id, seen)
    if gone := [id for id, row in known.items() if row["retired_at"] is not None]:
        raise ApiError(
            HTTPStatus.CONFLICT,
            f"设备已停用：{', '.join(gone[:5])}，请先恢复 · retired, bring it back first: {', '.join(gone[:5])}",
        )
    secrets = await write_devices(connection, who, community_id, wishes, known, context.settings.profiles)
    return await editing.devices_by_id(connection, community_id, list(wishes)), secrets


@router.patch("/devices/{device_id}", summary="修改设备 Change a device", responses={**EDITED, **TAKEN})
async def change_device(
    community_id: str,
    device_id: str,
    body: DeviceChange,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.REGISTRY_EDIT)],
    response: Response,
) -> DeviceMade:
    """A device that leaves its gateway gets a secret of its own, shown here."""
    who, seen = ticket.principal, expected_version(request)
    wish = body.model_dump(exclude_unset=True)
    async with context.database.write(as_=REGISTRAR) as connection:
        await community_in_scope(connection, who, community_id)
        before = await _one(connection, community_id, device_id)
        rows, secrets = await _change(connection, context, who, community_id, {device_id: wish}, {device_id: seen})
        row = rows[device_id]
        changed = {name: [before[name], row[name]] for name in wish if before[name] != row[name]}
        if changed:
            await system.audit(connection, who, community_id, "device.change", f"device:{device_id}", changed)
    response.headers.update(etag(row["version"]))
    return DeviceMade(device=device_out(row), secret=secrets[0].secret if secrets else None)


@router.patch("/devices", summary="批量修改设备 Change many devices, all or none", responses={**EDITED, **TAKEN})
async def change_devices(
    community_id: str, body: DeviceChanges, context: Ctx, ticket: Annotated[Ticket, needs(Permission.REGISTRY_EDIT)]
) -> DevicesChanged:
    who = ticket.principal
    wishes = {one.id: one.model_dump(exclude_unset=True, exclude={"id", "version"}) for one in body.items}
    if len(wishes) < len(body.items):
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "同一设备出现两次 · a device stands in it twice")
    async with context.database.write(as_=REGISTRAR) as connection:
        await community_in_scope(connection, who, community_id)
        seen = {one.id: one.version for one in body.items}
        rows, secrets = await _change(connection, context, who, community_id, wishes, seen)
        fields = sorted({name for wish in wishes.values() for name in wish})
        detail = {"count": len(rows), "fields": fields, "devices": list(rows)[:_NOTED]}
        await system.audit(connection, who, community_id, "device.change", f"{len(rows)} devices", detail)
    return DevicesChanged(
        changed=[VersionOf(id=row["id"], version=row["version"]) for row in rows.values()],
        secrets=[secret_out(one) for one in secrets],
    )


async def _act(
    community_id: str, device_id: str, request: Request, context: Ctx, who: Principal, action: str
) -> DeviceMade:
    seen = expected_version(request)
    secrets: list[Secret] = []
    async with context.database.write(as_=REGISTRAR) as connection:
        await community_in_scope(connection, who, community_id)
        before = (await locked(connection, community_id, {device_id: seen}))[device_id]
        role = who.role.value
        try:
            if action == "retire":
                if behind := await editing.still_behind(connection, community_id, [device_id]):
                    raise Faulty(behind)
                await provision.revoke(connection, [device_id], actor=who.id, retire=True, role=role)
            elif action == "secret":
                await provision.rotate(connection, [device_id], secrets.extend, actor=who.id, readmit=True, role=role)
            else:
                secrets = await _reinstate(connection, context, who, community_id, before)
        except Faulty as faulty:
            raise refused_faults(faulty.faults) from None
        row = await _one(connection, community_id, device_id)
    return DeviceMade(device=device_out(row), secret=secrets[0].secret if secrets else None)


async def _reinstate(
    connection: Connection, context: Ctx, who: Principal, community_id: str, before: Row
) -> list[Secret]:
    """Back into service; whoever speaks for itself gets a new secret, since the old one was taken from it."""
    device_id = before["id"]
    if before["retired_at"] is None:
        raise ApiError(HTTPStatus.CONFLICT, "设备在用 · the device is in service")
    secrets = await write_devices(
        connection, who, community_id, {device_id: {}}, {device_id: before}, context.settings.profiles
    )
    if not secrets and before["gateway_id"] is None:
        role = who.role.value
        await provision.rotate(connection, [device_id], secrets.extend, actor=who.id, readmit=True, role=role)
    await system.audit(connection, who, community_id, "device.reinstated", f"device:{device_id}", {})
    return secrets


@router.post("/devices/{device_id}/retire", summary="停用设备 Take it out of service", responses={**EDITED, **TAKEN})
async def retire(
    community_id: str,
    device_id: str,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.REGISTRY_EDIT)],
) -> DeviceMade:
    """Its history stays; the broker cuts it within seconds."""
    return await _act(community_id, device_id, request, context, ticket.principal, "retire")


@router.post("/devices/{device_id}/reinstate", summary="恢复设备 Bring it back", responses={**EDITED, **TAKEN})
async def reinstate(
    community_id: str,
    device_id: str,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.REGISTRY_EDIT)],
) -> DeviceMade:
    return await _act(community_id, device_id, request, context, ticket.principal, "reinstate")


@router.post("/devices/{device_id}/secret", summary="更换密钥 Give it a new secret", responses=EDITED)
async def secret(
    community_id: str,
    device_id: str,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.REGISTRY_EDIT)],
) -> DeviceMade:
    """The old one is void within seconds. The new one is shown here and nowhere else."""
    return await _act(community_id, device_id, request, context, ticket.principal, "secret")
