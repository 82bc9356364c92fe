"""Whether somebody may read one device's health metric now: by role and consent, or by an emergency that was stated."""

from __future__ import annotations

from http import HTTPStatus

from services.api.answers import shapes
from services.api.answers.health import asks_for
from services.api.answers.shapes import Row
from services.api.privacy.purposes import NO_CONSENT, required
from services.api.store import privacy as store
from services.api.store.database import Connection
from services.api.web.problems import ApiError
from services.domain.access import Principal, reader_class
from services.domain.devices.kind import Metric
from services.domain.people.privacy import Purpose


async def health_allowed(
    connection: Connection, who: Principal, device: Row, metric: Metric, purpose: Purpose | None
) -> Purpose:
    """The purpose under which the metric may be read. Raises ApiError 403 (role, 网格, consent) and 422 (purpose)."""
    reader = reader_class(who)
    needs = asks_for(metric)
    if not reader.sees_health(device["grid_id"]):
        detail = "健康数据仅网格员与社区值班可见 · health data is for grid members and the desk"
        raise ApiError(HTTPStatus.FORBIDDEN, detail)
    purpose = required(purpose, who)
    if needs not in shapes.shown(reader, device) and not await _emergency(connection, who, device, purpose):
        raise ApiError(HTTPStatus.FORBIDDEN, NO_CONSENT)
    return purpose


async def people_in_emergency(connection: Connection, who: Principal, purpose: Purpose) -> frozenset[str]:
    """Whose health data an emergency has opened to this account for now."""
    return await store.opened_by_emergency(connection, who.id) if purpose is Purpose.EMERGENCY else frozenset()


async def _emergency(connection: Connection, who: Principal, device: Row, purpose: Purpose) -> bool:
    if purpose is not Purpose.EMERGENCY or device["person_id"] is None:
        return False
    return await store.in_emergency(connection, device["person_id"], who.id)
