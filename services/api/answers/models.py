"""What the API answers: the shapes a client may rely on. Times are RFC 3339 in UTC; `*_ms` are epoch milliseconds."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.domain.orders import Mode, Move, Need, OrderState
from services.domain.vocabulary import Role, Severity, Team


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LabelOut(Model):
    zh: str
    en: str


class Login(Model):
    model_config = ConfigDict(json_schema_extra={"examples": [{"username": "desk", "password": "••••••••"}]})

    username: str = Field(min_length=1, max_length=64)
    password: str = Field(min_length=1, max_length=256)


class UserOut(Model):
    id: str
    username: str
    display_name: str
    role: Role
    team: Team | None
    community_id: str | None
    grid_id: str | None = None
    must_change: bool = False
    """Came in by a one-time password: may do nothing but choose one of their own."""


class Session(Model):
    """`access_token` goes into `Authorization: Bearer`; browsers use the cookie set beside it."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105
    expires_at: datetime
    session_expires_at: datetime
    """At the latest; until then it can be renewed."""
    user: UserOut


class MetricOut(Model):
    name: str
    unit: str
    label: LabelOut
    type: Literal["gauge", "counter", "switch", "state"]
    low: float
    high: float
    options: list[str]


class NamedOut(Model):
    name: str
    label: LabelOut


class KindCommandOut(NamedOut):
    """`lives_s`: how long after its release it may be carried out. `calls`: it warns people, so in an emergency it may
    go out before anybody approves it. `shown_by`: the reading or event that proves it; null: its word has to do.
    """

    dangerous: bool
    params: list[str]
    lives_s: int
    calls: bool
    shown_by: NamedOut | None


class KindOut(Model):
    name: str
    label: LabelOut
    system: str
    interval_s: int
    metrics: list[MetricOut]
    events: list[NamedOut]
    commands: list[KindCommandOut]


class CatalogueOut(Model):
    kinds: list[KindOut]
    severities: list[NamedOut]
    teams: list[NamedOut]
    roles: list[NamedOut]


class CommunityOut(Model):
    id: str
    name: str
    city: str
    district: str
    street: str
    households: int
    residents: int
    latitude: float
    longitude: float
    timezone: str


class BuildingOut(Model):
    id: str
    name: str
    floors: int
    x: float
    y: float
    width: float
    depth: float
    grid_id: str


class DrawnPlanOut(Model):
    """Metres, y downwards. Shapes: {"kind", "points": [[x, y], …], "name"?}, from the ground up; two points are a line.
    `version` names the drawing: `/plan/drawings/{version}` never changes."""

    version: int
    width: float
    height: float
    shapes: list[dict[str, Any]]
    buildings: list[BuildingOut]


class DeviceOut(Model):
    """Registry and latest state. `values` leaves out what was never sent, and health metrics for most roles."""

    id: str
    kind: str
    name: str
    place: str
    x: float
    y: float
    floor: int | None
    building_id: str | None
    gateway_id: str | None
    tags: list[str]
    online: bool
    last_seen_at: datetime | None
    ts: datetime | None
    values: dict[str, float]
    last_event: str | None
    last_event_at: datetime | None


class AlertOut(Model):
    id: UUID
    community_id: str
    rule_id: str
    kind: str
    severity: Severity
    team: Team
    life_safety: bool
    state: Literal["firing", "recovering", "cleared"]
    title: LabelOut
    why: LabelOut
    place: str
    device_id: str | None
    building_id: str | None
    onset_at: datetime
    fired_at: datetime
    last_at: datetime
    cleared_at: datetime | None
    occurrences: int
    trigger: dict[str, Any]
    correlation: str
    order_id: UUID | None
    held: list[str]
    """Why it sends nobody now (silence:{id}, maintenance:{id}, inhibited:{alert id}, flapping, cap:device,
    cap:community, settling, asking, answered); of a cleared alert, why it never did."""
    held_since: datetime | None
    released_at: datetime | None
    suppressed: int
    """Occurrences that sent nobody."""
    shadow: bool
    """Of a rule on trial: it never sends anybody."""
    group_key: str | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None


class OrderOut(Model):
    """`moves` are those the asking user may make now; `due` is the next deadline, None when none runs. `rung`: how far
    up the ladder it has climbed (0 team, 1 leader, 2 desk, 3 street, 4 department)."""

    id: UUID
    number: int
    community_id: str
    source: Literal["alert", "resident", "patrol", "platform", "staff"]
    alert_id: UUID | None
    device_id: str | None
    building_id: str | None
    kind: str
    severity: Severity
    title: LabelOut
    place: str
    x: float | None
    y: float | None
    team: Team
    assignee: str | None
    state: OrderState
    version: int
    created_at: datetime
    dispatched_at: datetime | None
    accepted_at: datetime | None
    arrived_at: datetime | None
    resolved_at: datetime | None
    verified_at: datetime | None
    closed_at: datetime | None
    due: datetime | None
    due_for: Literal["file", "accept", "arrive", "resolve", "verify"] | None
    correlation: str
    moves: list[Move]
    needs: dict[Move, list[Need]]
    """What each of `moves` still needs: fields to send with it, or what must be there before (photos, signature)."""
    class_id: str | None
    category: str | None
    mode: Mode
    rung: int
    forced: bool
    returns: int
    reworks: int
    urges: int
    assignee_id: str | None
    parent_id: UUID | None
    merged_into: UUID | None
    photos_before: int
    photos_after: int
    signatures: int
    on_site: Literal["position", "code"] | None
    pause_reason: str | None
    pause_until: datetime | None
    rating: int | None
    call_back: Literal["satisfied", "unsatisfied", "unreached"] | None


class HistoryOut(Model):
    version: int
    move: Move
    from_state: OrderState | None
    to_state: OrderState
    at: datetime
    actor: str
    actor_role: str
    reason: str | None
    detail: dict[str, Any]


class Page(Model):
    """`next` is the cursor of the following page; None at the end."""

    next: str | None


class DevicePage(Page):
    items: list[DeviceOut]


class AlertPage(Page):
    items: list[AlertOut]


class OrderPage(Page):
    items: list[OrderOut]


class Point(Model):
    ts_ms: int
    value: float | None


class SeriesOut(Model):
    """One curve: averages (gauges), differences (counters) per bucket; None where nothing was observed."""

    name: str
    unit: str
    label: LabelOut
    bucket_s: int
    points: list[Point]


class RollupPoint(Model):
    """One hour or day; `ts_ms` is where it begins. Hours and days without a reading are left out."""

    ts_ms: int
    count: int
    low: float | None
    high: float | None
    mean: float | None
    last: float | None
    used: float | None
    """Of counters: what was consumed, steps belonging to the bucket of their later reading."""
    breaks: int | None
    """Of counters: jumps that cannot have been; they count nothing."""


class RollupsOut(Model):
    """One metric by hours or days."""

    name: str
    unit: str
    label: LabelOut
    bucket: str
    points: list[RollupPoint]


class KpiOut(Model):
    """One figure with the formula and the counts behind it, so that it can be checked by hand."""

    name: str
    label: LabelOut
    value: float | None
    unit: str
    formula: LabelOut
    numerator: int | float | None
    denominator: int | None
    behind: bool = Field(default=False, description="whether `…/kpis/{name}/rows` has orders behind it")


class KpisOut(Model):
    at: datetime
    items: list[KpiOut]


class SnapshotOut(Model):
    """Everything a cockpit opens with. `cursor` is where its live stream continues."""

    cursor: int
    at: datetime
    build: str
    community: CommunityOut
    plan: DrawnPlanOut
    devices: list[DeviceOut]
    alerts: list[AlertOut]
    orders: list[OrderOut]
    kpis: KpisOut


class QuarantineOut(Model):
    id: int
    received_at: datetime
    worker: str
    scope: Literal["message", "value"]
    reason: str
    detail: str
    topic: str
    device_id: str | None
    message_id: str | None
    payload: str
    payload_size: int


class QuarantinePage(Page):
    items: list[QuarantineOut]
    counts: dict[str, int]


class LedgerRow(Model):
    worker: str
    partition: int
    lane: Literal["event", "telemetry"]
    received: int
    stored: int
    duplicate: int
    rejected: int
    updated_at: datetime


class LedgerOut(Model):
    rows: list[LedgerRow]
    balanced: bool


class Problem(BaseModel):
    """RFC 9457 problem details, `application/problem+json`."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str | None = None
    errors: list[dict[str, Any]] | None = None
    current: dict[str, Any] | None = None
    """Of a conflict over an order: the whole order as it stands now."""


class PublicValueOut(Model):
    """What one measuring station says now."""

    name: str
    place: str
    ts: datetime
    values: dict[str, float]


class PublicOut(Model):
    """What a screen at the gate may show: air and noise by station, and parking left of the spaces with a sensor."""

    at: datetime
    stations: list[PublicValueOut]
    parking_spaces: int
    parking_left: int
