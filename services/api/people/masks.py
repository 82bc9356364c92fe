"""Who may see which person, and as much of them as they may: masks by default, the whole for whom it is needed."""

from __future__ import annotations

from services.api.answers.shapes import Row, label
from services.api.guard import in_scope
from services.api.people import store
from services.api.people.models import ConsentOut, PersonOut
from services.api.store.database import Connection
from services.api.web.problems import not_found
from services.domain.access import Principal, reaches_grid, reaches_household
from services.domain.people.privacy import CONSENTS, ConsentTo, masked_name, masked_phone
from services.domain.people.tags import SENSITIVE
from services.domain.vocabulary import Role

OUTSIDERS = frozenset({Role.RESIDENT, Role.MERCHANT, Role.VISITOR})


async def person_in_reach(connection: Connection, who: Principal, person_id: str) -> Row:
    """The person, for those whose community, 网格 or household they are of; for all others 404."""
    row = await in_scope(connection, who, await store.person(connection, person_id), "person", person_id)
    if is_own(who, row):
        return row
    if not reaches_household(who, row["household_id"]) or not reaches_grid(who, row["grid_id"]):
        raise not_found("person", person_id)
    return row


def is_own(who: Principal, row: Row) -> bool:
    """Whether the account is the person's, or their guardian's."""
    return who.id in (row["account_id"], row["guardian_id"])


def may_see_whole(who: Principal, row: Row) -> bool:
    """Without asking: a grid member in their own 网格, and residents at home."""
    if who.role is Role.GRID:
        return reaches_grid(who, row["grid_id"])
    return is_own(who, row) or (who.role in OUTSIDERS and reaches_household(who, row["household_id"]))


def person_out(row: Row, *, whole: bool, tags: bool | None = None) -> PersonOut:
    """`whole`: nothing is masked. `tags`: whether those of health and hardship are shown; by default as `whole`."""
    sensitive = whole if tags is None else tags
    return PersonOut(
        id=row["id"],
        community_id=row["community_id"],
        version=row["version"],
        revealed=whole,
        name=row["name"] if whole else masked_name(row["name"]),
        phone=row["phone"] if whole else masked_phone(row["phone"]),
        birth_year=row["birth_year"],
        tags=[tag for tag in row["tags"] if sensitive or tag not in SENSITIVE],
        household_id=row["household_id"] if whole else None,
        building_id=row["building_id"],
        building=row["building"],
        unit=row["unit"] if whole else None,
        room=row["room"] if whole else None,
        grid_id=row["grid_id"],
        away_until=row["away_until"],
        moved_out_at=row["moved_out_at"],
        account=row["account_id"] is not None,
        guardian=row["guardian_id"] is not None,
        account_id=row["account_id"] if sensitive else None,
        guardian_id=row["guardian_id"] if sensitive else None,
        account_name=row.get("account_name") if sensitive else None,
        guardian_name=row.get("guardian_name") if sensitive else None,
    )


def consent_out(row: Row) -> ConsentOut:
    names = set(ConsentOut.model_fields) - {"label"}
    return ConsentOut(**{name: row[name] for name in names}, label=label(CONSENTS[ConsentTo(row["what"])]))
