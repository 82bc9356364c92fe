"""People found: by tags, age and place in the address, by their words in a body that no log of a proxy keeps."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from services.api.answers.shapes import label
from services.api.common import PREFIX, PROBLEMS, Cursor, Limit, answer
from services.api.context import Context, Ctx
from services.api.guard import community_in_scope, needs
from services.api.identity.auth import Ticket
from services.api.people import store
from services.api.people.masks import person_out
from services.api.people.models import AgeBand, PeopleSearchIn, PersonPage, TagOut
from services.api.people.store import PeopleFilter
from services.api.store import system
from services.api.web import cursor
from services.api.web.problems import ApiError
from services.domain.access import Permission, Principal
from services.domain.people.tags import GROUPS, SENSITIVE, TAGS
from services.domain.registry import ELDER_LIVING_ALONE
from services.domain.vocabulary import Role

router = APIRouter(prefix=PREFIX, tags=["people 人口"], responses=PROBLEMS)
_BANDS: dict[str, tuple[int, int]] = {
    "0-5": (0, 5), "6-17": (6, 17), "18-59": (18, 59), "60-69": (60, 69), "70-79": (70, 79), "80-89": (80, 89),
    "90+": (90, 200),
}  # fmt: skip


@router.get("/communities/{community_id}/person-tags", summary="人口标签目录 The catalogue of tags")
async def tags(community_id: str, context: Ctx, ticket: Annotated[Ticket, needs(Permission.PEOPLE)]) -> list[TagOut]:
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        counts = await store.tag_counts(connection, community_id)
    return [
        TagOut(
            name=tag.name,
            label=label(tag.label),
            group=tag.group,
            group_label=label(GROUPS[tag.group]),
            sensitive=tag.sensitive,
            people=counts.get(tag.name, 0),
        )
        for tag in TAGS
    ]


@router.get("/communities/{community_id}/people", response_model=PersonPage, summary="人口列表 People, by id; masked")
async def people(
    community_id: str,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.PEOPLE)],
    tag: Annotated[list[str] | None, Query(max_length=20, description="须全部具备 · all of these")] = None,
    building_id: Annotated[str | None, Query(max_length=128)] = None,
    grid_id: Annotated[str | None, Query(max_length=128)] = None,
    household_id: Annotated[str | None, Query(max_length=128)] = None,
    age: Annotated[AgeBand | None, Query(description="年龄段 · by year of birth")] = None,
    alone: Annotated[bool, Query(description="只看独居 · only who lives alone")] = False,
    moved_out: Annotated[bool, Query(description="已迁出 · who has moved out, instead")] = False,
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 100,
) -> Response:
    """Everybody is masked here, also for those who may see the whole of one of them. Grid members see their 网格.

    To look for a name or a telephone number, `POST …/people/search`: an address is kept by proxies, a body is not."""
    if "q" in request.query_params:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "姓名和手机号不能写在网址里，请用 POST …/people/search · names and numbers do not belong into an address; "
            "send them to POST …/people/search",
        )
    asked = PeopleSearchIn(
        tags=tag or [], building_id=building_id, grid_id=grid_id, household_id=household_id, age=age, alone=alone,
        moved_out=moved_out, cursor=after, limit=limit,
    )  # fmt: skip
    return await _found(context, ticket.principal, community_id, asked)


@router.post(
    "/communities/{community_id}/people/search", response_model=PersonPage, summary="查找人口 Find people; masked"
)
async def search(
    community_id: str, body: PeopleSearchIn, context: Ctx, ticket: Annotated[Ticket, needs(Permission.PEOPLE)]
) -> Response:
    """By words, and everything that the list takes. It changes nothing; what was looked for is written down nowhere."""
    return await _found(context, ticket.principal, community_id, body)


async def _found(context: Context, who: Principal, community_id: str, asked: PeopleSearchIn) -> Response:
    key = cursor.decode(asked.cursor, 1)
    youngest, oldest = _BANDS.get(asked.age or "", (None, None))
    year = context.clock.now().year
    by = PeopleFilter(
        moved_out=asked.moved_out,
        tags=sorted({*asked.tags, *([ELDER_LIVING_ALONE] if asked.alone else [])}) or None,
        building_id=asked.building_id,
        grid_id=_grid(who, asked.grid_id),
        household_id=asked.household_id,
        born_upto=None if youngest is None else year - youngest,
        born_from=None if oldest is None else year - oldest,
        text=asked.words,
    )
    async with context.database.write() as connection:
        await community_in_scope(connection, who, community_id)
        rows = await store.people(connection, community_id, by, after=key[0] if key else None, limit=asked.limit + 1)
        private = sorted(SENSITIVE & set(by.tags or ()))
        if private:
            # To ask for everybody with an illness is to read about it.
            detail = {"purpose": "duty", "tags": private}
            await system.audit(connection, who, community_id, "health.read", f"community:{community_id}", detail)
    page = rows[: asked.limit]
    more = cursor.encode(page[-1]["id"]) if len(rows) > asked.limit else None
    return answer(PersonPage(items=[person_out(row, whole=False) for row in page], next=more))


def _grid(who: Principal, asked: str | None) -> str | None:
    """A grid member without a 网格, or who asks for another, finds nobody."""
    if who.role is not Role.GRID:
        return asked
    return who.grid_id if who.grid_id and asked in (None, who.grid_id) else "-"
