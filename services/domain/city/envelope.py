"""Makes CloudEvents 1.0 of rows of the outbox: the same row and grants give the same bytes."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from services.domain.city.catalogue import BY_TYPE, TEST, CityEventType
from services.domain.city.payloads import Payload
from services.domain.city.vocabulary import DataClass, EventMark, marked

STRUCTURED_TYPE = "application/cloudevents+json; charset=utf-8"
CARE = {"zh": "健康关怀", "en": "Wellbeing check"}
"""The title of what is about somebody's health, for those who are shown none of it."""
MASKED_RULE = "health"
SEQUENCE_DIGITS = 20
_NO_CASES: Mapping[str, Mapping[str, Any]] = {}
_TELLING = frozenset({"alert", "plan"})
"""Families whose rows may say what somebody's health is like."""


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A row of the outbox, as it stands."""

    seq: int
    at: datetime
    type: str
    community_id: str
    subject: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CityEvent:
    """A CloudEvent. `data` holds JSON values alone, and nothing that was not granted."""

    seq: int
    kind: CityEventType
    source: str
    subject: str
    time: datetime
    community_id: str
    mark: EventMark
    data: Mapping[str, Any]
    id: str

    def attributes(self) -> dict[str, str]:
        """The context attributes in the order in which they are written, all of them strings."""
        return {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": self.kind.name,
            "subject": self.subject,
            "time": self.time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "dataschema": self.kind.schema_id,
            "partitionkey": self.subject,
            **({"sequence": str(self.seq).zfill(SEQUENCE_DIGITS)} if self.seq else {}),
            "mark": self.mark.value,
        }

    def document(self) -> dict[str, Any]:
        return {**self.attributes(), "data": dict(self.data)}

    def structured(self) -> tuple[dict[str, str], bytes]:
        """Headers and body of the structured content mode."""
        return {"Content-Type": STRUCTURED_TYPE}, _json(self.document())

    def binary(self) -> tuple[dict[str, str], bytes]:
        """Headers and body of the binary content mode; header values percent-encoded as the HTTP binding says."""
        attributes = self.attributes()
        headers = {"Content-Type": attributes.pop("datacontenttype")}
        headers |= {f"ce-{name}": header_value(value) for name, value in attributes.items()}
        return headers, _json(dict(self.data))


def header_value(text: str) -> str:
    """CloudEvents HTTP binding 1.0.2, 3.1.3.2: what is no printable ASCII, and space, double quote and percent."""
    return quote(text, safe="!#$&'()*+,/:;=?@[]-._~<>\\^`{|}")


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def make(
    row: OutboxRow,
    granted: Collection[DataClass],
    *,
    base: str = "",
    mark: EventMark = EventMark.ACTUAL,
    health_shown: bool = False,
    cases: Mapping[str, Mapping[str, Any]] = _NO_CASES,
) -> CityEvent:
    """The event of a published row. `base`: where this system is reached, without a slash at the end; `mark`: of the
    subscription. `health_shown`: the grant stands, and so does the consent of whom the alert is about. `cases`: of city
    management, by kind.

    Raises KeyError for a type that is not published, ValidationError for a row that is not of its type.
    """
    kind = BY_TYPE[row.type]
    whole = kind.read({**row.data, "case": cases.get(str(row.data.get("kind")))}, row.community_id)
    data = shown(whole, granted)
    if kind.family in _TELLING and not health_shown and about_health(row.data):
        data = _masked(data)
    said = row.data.get("mark")
    own = EventMark(said) if said in set(EventMark) else EventMark.ACTUAL
    return CityEvent(
        seq=row.seq,
        kind=kind,
        source=source_of(base, row.community_id),
        subject=f"{kind.family}/{row.subject}",
        time=row.at,
        community_id=row.community_id,
        mark=marked(own, mark),
        data=data,
        id=str(row.seq),
    )


def _masked(data: Mapping[str, Any]) -> dict[str, Any]:
    """Without what says more than that somebody is to be looked after. A plan's name says what it was begun for."""
    shown = {name: value for name, value in data.items() if name != "why"}
    for name, said in (
        ("rule_id", MASKED_RULE),
        ("plan_id", MASKED_RULE),
        ("title", CARE),
        ("step", None),
        ("action", None),
    ):
        if name in shown:
            shown[name] = said
    return shown


def about_health(data: Mapping[str, Any]) -> bool:
    """Whether a row of an alert or a plan is about somebody's health; one that does not say so is."""
    return data.get("health") is not False


def shown(whole: Payload, granted: Collection[DataClass]) -> dict[str, Any]:
    """The payload without what needs a grant that is not there; nothing that was never said stands in it."""
    gated = whole.gated()
    hidden = {name for name, needs in gated.items() if needs not in granted}
    data = whole.model_dump(mode="json", exclude=hidden)
    return {name: value for name, value in data.items() if value is not None or name not in gated}


def source_of(base: str, community_id: str) -> str:
    """A URI reference; with `base` it is the community's own address."""
    return f"{base}/communities/{quote(community_id, safe='')}"


def test_event(id: str, subscription_id: str, community_id: str, at: datetime, *, base: str = "") -> CityEvent:
    """What a test sends: always marked so, with no place in the sequence."""
    payload = TEST.model.model_validate(
        {"community_id": community_id, "subscription_id": subscription_id, "said": "LinHub 邻枢"}
    )
    data = payload.model_dump(mode="json")
    subject = f"subscription/{subscription_id}"
    return CityEvent(0, TEST, f"{base}/subscriptions", subject, at, community_id, EventMark.TEST, data, id)


test_event.__test__ = False  # type: ignore[attr-defined]
