"""Emergency contacts as one list: as much of each as the asker may see, its version, and what may stand in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from http import HTTPStatus
from uuid import UUID

from fastapi import Request

from services.adapters.notices import book
from services.api.answers.shapes import Row
from services.api.people.contact_models import ContactOut
from services.api.people.masks import OUTSIDERS, is_own
from services.api.store.database import Connection
from services.api.web.preconditions import etag, expected_version
from services.api.web.problems import ApiError
from services.domain.access import Principal
from services.domain.notices import Telephone, parse_telephone
from services.domain.people.privacy import masked_name

_SAID = ("id", "name", "relation", "address", "position", "language")


def version_of(rows: Sequence[Row], secret: str) -> int:
    """Of the whole list, for its order is part of it. Keyed: whoever sees the mask cannot try numbers against it."""
    said = json.dumps([[str(row[name]) for name in _SAID] for row in rows]).encode()
    keyed = hashlib.blake2b(said, key=hashlib.sha256(secret.encode()).digest(), digest_size=8)
    return 1 + int.from_bytes(keyed.digest()) % 999_999_998


def tag(rows: Sequence[Row], secret: str) -> dict[str, str]:
    return etag(version_of(rows, secret))


def contact_out(row: Row, who: Principal, person: Row, *, whole: bool = False) -> ContactOut:
    """A household knows whom it named; of everybody else's, names are masked until they are revealed."""
    named = whole or who.role in OUTSIDERS or is_own(who, person)
    return ContactOut(
        id=row["id"],
        person_id=row["person_id"],
        revealed=whole,
        name=row["name"] if named else masked_name(row["name"]),
        relation=row["relation"],
        phone=row["address"] if whole else row["phone"],
        position=row["position"],
        language=row["language"],
        created_at=row["created_at"],
        failing_since=row["failing_since"],
    )


def telephone(text: str) -> Telephone:
    """Raises ApiError 422 with what is wrong with it."""
    parsed = parse_telephone(text)
    if not isinstance(parsed, Telephone):
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{parsed.zh} · {parsed.en}")
    return parsed


def check_number(phone: Telephone, person: Row, others: Sequence[Row]) -> None:
    """Whoever is to be called for somebody is somebody else, and is called once. Raises ApiError 422."""
    own = parse_telephone(person["phone"]) if person["phone"] else None
    if isinstance(own, Telephone) and _bare(own.number) == _bare(phone.number):
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "这是本人的号码，请填写亲友的号码 · that is the person's own number: enter somebody else's",
        )
    if any(_bare(row["address"]) == _bare(phone.number) for row in others):
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "该号码已在联系人中，请修改那一位 · another contact has that number already: change that one",
        )


def _bare(number: str | None) -> str | None:
    return None if number is None else number.removeprefix("+86").removeprefix("0")


async def seen(connection: Connection, person_id: str, request: Request, secret: str) -> list[Row]:
    """Holds the list and answers with it, where it is the one that was seen. Raises ApiError 412, 428."""
    await book.hold_contacts(connection, person_id)
    rows = await book.contacts(connection, person_id)
    if expected_version(request) != version_of(rows, secret):
        raise ApiError(
            HTTPStatus.PRECONDITION_FAILED,
            "他人已先修改这些联系人，请核对最新内容后再保存 · somebody changed these contacts meanwhile: look at them "
            "as they are now, then save again",
            headers=tag(rows, secret),
        )
    return rows


def row_of(rows: Sequence[Row], contact_id: UUID) -> Row | None:
    return next((row for row in rows if row["id"] == contact_id), None)
