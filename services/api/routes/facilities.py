"""How facilities are used: who came and left, by hour or day, ranked, beside the same time before."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter
from starlette.responses import Response

from services.api.common import PREFIX, PROBLEMS
from services.api.context import Ctx
from services.api.data import store
from services.api.data.models import FacilitiesOut, FacilityHour, FacilityUse
from services.api.data.tiles import capacities
from services.api.guard import community_in_scope, needs
from services.api.identity.auth import Ticket
from services.api.routes.rollups import Bucket, From, To
from services.api.web.problems import ApiError
from services.domain.access import Permission

router = APIRouter(prefix=f"{PREFIX}/communities", tags=["facilities 设施"], responses=PROBLEMS)

LONGEST = timedelta(days=92)
_KIND = "people_counter"
Used = dict[int, dict[datetime, float]]


@router.get("/{community_id}/facilities", response_model=FacilitiesOut, summary="设施使用 Use of facilities")
async def facilities(
    community_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.FACILITIES)],
    start: From,
    end: To,
    bucket: Bucket = "hour",
) -> Response:
    """`before` is the time of the same length just before: a week is compared with the week before it.

    came = Σ forward steps of the counter `in` (a reset begins again at zero, a swap is no step); left: of `out`."""
    if not timedelta(0) < end - start <= LONGEST:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"时段须为 1 小时至 {LONGEST.days} 天 · from must lie before to, {LONGEST.days} days apart at most",
        )
    async with context.database.read() as connection:
        row = await community_in_scope(connection, ticket.principal, community_id)
    zone = ZoneInfo(row["timezone"])

    async def compute() -> bytes:
        async with context.database.consistent() as connection:
            rows = await connection.fetch(store.Q["states_of_kinds"], community_id, [_KIND])
            numbers = [one["device_no"] for one in rows]

            async def used(metric: str, begin: datetime, until: datetime, by: str) -> Used:
                found: Used = defaultdict(dict)
                args = (community_id, _KIND, numbers, metric, begin, until, by)
                for one in await connection.fetch(store.Q["used_by_device"], *args):
                    found[one["device_no"]][one["bucket"]] = one["used"] or 0.0
                return found

            came, left = await used("in", start, end, bucket), await used("out", start, end, bucket)
            hourly = came if bucket == "hour" else await used("in", start, end, "hour")
            before = await used("in", start - (end - start), start, bucket)
            limits = await capacities(connection, community_id)
        items = []
        for one in rows:
            no = one["device_no"]
            total, earlier = sum(came[no].values()), sum(before[no].values())
            items.append(
                FacilityUse(
                    device_id=one["id"],
                    name=one["name"],
                    place=one["place"],
                    rank=0,
                    came=total,
                    before=earlier,
                    change=round((total - earlier) / earlier, 4) if earlier else None,
                    busiest_hour=_busiest(hourly[no], zone),
                    capacity=limits.get(one["id"], limits[""]),
                    hours=[
                        FacilityHour(ts_ms=round(at.timestamp() * 1000), came=n, left=left[no].get(at, 0.0))
                        for at, n in sorted(came[no].items())
                    ],
                )
            )
        items.sort(key=lambda use: (-use.came, use.device_id))
        ranked = [use.model_copy(update={"rank": n}) for n, use in enumerate(items, start=1)]
        shown = FacilitiesOut(
            start=start,
            end=end,
            bucket=bucket,
            came=sum(use.came for use in ranked),
            before=sum(use.before for use in ranked),
            items=ranked,
        )
        return shown.model_dump_json().encode()

    body = await context.curves.get(("facilities", community_id, start, end, bucket), compute)
    return Response(body, media_type="application/json")


def _busiest(by_hour: dict[datetime, float], zone: ZoneInfo) -> int | None:
    totals: dict[int, float] = defaultdict(float)
    for at, came in by_hour.items():
        totals[at.astimezone(UTC).astimezone(zone).hour] += came
    return max(totals, key=lambda hour: (totals[hour], -hour)) if any(totals.values()) else None
