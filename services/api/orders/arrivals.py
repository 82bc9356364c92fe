"""The on-site check (到场核验) of a move: what was shown, against where the order is."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from services.adapters.evidence import rows
from services.api.answers.shapes import Row
from services.api.orders.evidence import ground_of
from services.api.orders.evidence_models import ArrivalPositionIn
from services.api.store.database import Connection
from services.api.uploads.intake import Intake
from services.api.web.problems import ApiError
from services.domain.evidence import Box, PlaceCode, Position, Site, Unproven, judge
from services.domain.orders import Move, OrderState


async def checked(
    connection: Connection, intake: Intake, order: Row, move: Move, position: ArrivalPositionIn | None, code: str | None
) -> dict[str, Any] | None:
    """What goes into the history as `on_site`; None where nothing was shown or it is no arrival.

    Raises ApiError 422 where what was shown speaks against it: then somebody is not there.
    """
    if move is not Move.ARRIVE or (position is None and not code):
        return None
    if order["state"] != OrderState.ACCEPTED:
        return None  # a retry, which is judged by its key wherever its sender is by now, or no legal move at all
    place = await rows.site(connection, order["community_id"], order["building_id"])
    shown = intake.signer.read(code) if code else None
    row = await rows.code_by_id(connection, shown) if shown else None
    found = judge(
        _site(order, place),
        order["community_id"],
        position=Position(**position.model_dump()) if position else None,
        code=_code(row) if row else None,
        scanned=bool(code),
        reach=intake.reach,
    )
    if isinstance(found, Unproven):
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"{found.reason.zh} · {found.reason.en}",
            errors=[{"code": "on_site"}],
        )
    return found.detail if found else None


def _site(order: Row, place: Row) -> Site:
    point = (order["x"], order["y"]) if order["x"] is not None and order["y"] is not None else None
    box = None
    if place["building_x"] is not None:
        box = Box(place["building_x"], place["building_y"], place["building_width"], place["building_depth"])
    return Site(ground_of(place), point, box, order["building_id"] if box else None)


def _code(row: Row) -> PlaceCode:
    return PlaceCode(
        str(row["id"]),
        row["community_id"],
        row["building_id"],
        row["place"],
        row["x"],
        row["y"],
        row["revoked_at"] is not None,
    )
