"""NGSI-LD (ETSI GS CIM 009): entities by the Smart Data Models, read only, as the asking account may see them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic_core import to_json
from starlette.responses import Response

from services.api.answers.models import Problem
from services.api.city import ngsi
from services.api.city.ngsi import LD_JSON, PREFIX, answered
from services.api.common import PROBLEMS, tagged
from services.api.context import Ctx
from services.api.guard import needs, open_to_all
from services.api.identity.auth import Ticket
from services.domain.access import Permission
from services.domain.city.ngsi import TYPES, asking
from services.domain.city.ngsi.asking import AskedWrongly
from services.domain.city.ngsi.context import context as ld_context
from services.domain.city.ngsi.mapping import URN

router = APIRouter(prefix=PREFIX, tags=["ngsi-ld"], responses=PROBLEMS)

Listener = Annotated[Ticket, needs(Permission.CITY_EVENTS)]
Text = Annotated[str | None, Query()]
_MAX_AGE_S = 3_600
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {one: {"schema": {}} for one in (ngsi.JSON, LD_JSON)},
        "description": "实体 entities, as `format` says",
    },
    400: {"model": Problem, "description": "参数有误 · InvalidRequest, BadRequestData"},
    406: {"model": Problem, "description": "可用 application/json 或 application/ld+json"},
    422: {"model": Problem, "description": "不支持 · OperationNotSupported"},
    501: {"model": Problem, "description": "请勿发送 NGSILD-Tenant · NoMultiTenantSupport"},
}


@router.get("/entities", summary="实体查询 Query entities", response_class=Response, responses=_ANSWERS)
async def entities(
    request: Request,
    context: Ctx,
    ticket: Listener,
    type: Annotated[Text, Query(description="类型，逗号分隔 types, by commas")] = None,
    id: Annotated[Text, Query(description="URI，逗号分隔 URIs, by commas")] = None,
    id_pattern: Annotated[Text, Query(alias="idPattern", description="字面字符、.、.*、^、$")] = None,
    q: Annotated[Text, Query(description='如 `fillingLevel>=0.8;status=="ok"`')] = None,
    attrs: Annotated[Text, Query(description="有其一的实体，且只含这些 with any of them, and only them")] = None,
    pick: Annotated[Text, Query(description="只含 only these attributes")] = None,
    omit: Annotated[Text, Query(description="不含 without these attributes")] = None,
    options: Annotated[Text, Query(description="keyValues")] = None,
    format: Annotated[Text, Query(description="normalized, concise, simplified")] = None,
    limit: Annotated[Text, Query(description="0–1000；20")] = None,
    offset: Annotated[Text, Query()] = None,
    count: Annotated[Text, Query(description="true：NGSILD-Results-Count")] = None,
    local: Annotated[Text, Query(description="无影响：都在此处 changes nothing: all of it is here")] = None,
) -> Response:
    """As they are now, community by community; alerts that are open. `Accept: application/ld+json` puts the @context
    into each entity, else a `Link` names it."""
    media_type = ngsi.checked(request)
    try:
        asked = asking.read(_parameters(request))
    except AskedWrongly as error:
        raise ngsi.wrongly(error) from None
    found = await ngsi.find(context, await ngsi.viewer(context, ticket), asked)
    url = ngsi.context_url(context, request)
    inline = url if media_type == LD_JSON else None
    body = [one.document(asked.representation.form, inline) for one in found.entities]
    headers = {} if found.total is None else {"NGSILD-Results-Count": str(found.total)}
    return answered(body, media_type, url, more=ngsi.page_links(request, asked, found.more), headers=headers)


@router.get("/entities/{entity_id}", summary="一个实体 One entity", response_class=Response, responses=_ANSWERS)
async def entity(
    entity_id: str,
    request: Request,
    context: Ctx,
    ticket: Listener,
    type: Annotated[Text, Query(description="须为此类型 must be of this type")] = None,
    attrs: Text = None,
    pick: Text = None,
    omit: Text = None,
    options: Text = None,
    format: Text = None,
    local: Text = None,
) -> Response:
    """An alert that is over is still there by its id, with `validTo`."""
    media_type = ngsi.checked(request)
    given = _parameters(request)
    try:
        asking.checked(given, ("type", "attrs", "pick", "omit", "options", "format", "local"))
        asked = asking.read({**given, "id": entity_id, "limit": "1"})
    except AskedWrongly as error:
        raise ngsi.wrongly(error) from None
    found = await ngsi.find(context, await ngsi.viewer(context, ticket), asked)
    if not found.entities:
        raise ngsi.not_there(entity_id)
    url = ngsi.context_url(context, request)
    body = found.entities[0].document(asked.representation.form, url if media_type == LD_JSON else None)
    return answered(body, media_type, url)


@router.get("/types", summary="实体类型 Types of entities", response_class=Response, responses=_ANSWERS)
async def types(
    request: Request,
    context: Ctx,
    ticket: Listener,
    details: Annotated[Text, Query(description="true：每个类型的属性 the attributes of each")] = None,
    local: Text = None,
) -> Response:
    """Those that you may see, whether there is an entity of them at this moment or not."""
    media_type = ngsi.checked(request)
    given = _parameters(request)
    try:
        asking.checked(given, ("details", "local"))
    except AskedWrongly as error:
        raise ngsi.wrongly(error) from None
    seen = await ngsi.viewer(context, ticket)
    shown = [kind for kind in TYPES.values() if seen.may(kind)]
    url = ngsi.context_url(context, request)
    body: Any
    inline = {"@context": url} if media_type == LD_JSON else {}
    if given.get("details") == "true":
        body = [
            {
                "id": kind.uri,
                "type": "EntityType",
                "typeName": kind.name,
                "attributeNames": sorted(kind.attributes),
                **inline,
            }
            for kind in shown
        ]
    else:
        names = [kind.name for kind in shown]
        body = {"id": f"{URN}:EntityTypeList:linhub", "type": "EntityTypeList", "typeList": names, **inline}
    return answered(body, media_type, url)


@router.get(
    "/jsonldContexts/linhub",
    summary="JSON-LD 上下文 The @context of our entities",
    response_class=Response,
    responses={200: {"content": {LD_JSON: {}}, "description": "JSON-LD 1.1"}},
    dependencies=[open_to_all()],
)
async def terms(request: Request) -> Response:
    answer = tagged(request, to_json(ld_context()), public_s=_MAX_AGE_S)
    if answer.status_code == HTTPStatus.OK:
        answer.headers["Content-Type"] = LD_JSON
    return answer


def _parameters(request: Request) -> dict[str, str]:
    """What was sent, the last of each: also what no route knows, so that it is refused and not passed over."""
    return dict(request.query_params)
