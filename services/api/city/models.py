"""The shapes of city events: subscriptions, their keys and logs, pages of events."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, model_validator

from services.adapters.outward.target import Target, read
from services.api.answers.models import Model, Page
from services.domain.city import DataClass, EventMark, Format, SubscriptionState, Way
from services.domain.city.filters import PATTERN, unmatched
from services.domain.vocabulary import Severity

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80, pattern=r"^[^\x00]*$")]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, max_length=400, pattern=r"^[^\x00]*$")]
Kind = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,40}$")]
Id = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00]*$")]
Seq = Annotated[int, Field(ge=0, le=2**62)]


def _pattern(text: str) -> str:
    if not PATTERN.match(text) or unmatched([text]):
        raise ValueError(
            "没有这样的事件类型 · no such type: `*`, a family such as `order.*`, or one such as `alert.raised`"
        )
    return text


def _url(text: str) -> str:
    target = read(text)
    if not isinstance(target, Target):
        raise ValueError(f"{target.zh} · {target.en}")
    return text


Pattern = Annotated[str, Field(max_length=64), AfterValidator(_pattern)]
Url = Annotated[str, Field(max_length=2048), AfterValidator(_url)]


class SubscriptionEdit(Model):
    """What may be changed. Empty lists hold nothing back. `classes`: data beyond thin payloads; each needs a reason."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "区城运中心",
                    "url": "https://events.example.gov.cn/linhub",
                    "format": "structured",
                    "types": ["alert.*", "order.close"],
                    "severities": ["major", "critical"],
                    "classes": ["text", "location"],
                    "classes_reason": "联动处置协议",
                    "mark": "Actual",
                    "state": "active",
                }
            ]
        }
    )

    name: Name
    url: Url | None = None
    format: Format = Format.STRUCTURED
    types: list[Pattern] = Field(default=["*"], min_length=1, max_length=40)
    communities: list[Id] = Field(default=[], max_length=200)
    severities: list[Severity] = Field(default=[], max_length=4)
    kinds: list[Kind] = Field(default=[], max_length=60)
    classes: list[DataClass] = Field(default=[], max_length=4)
    classes_reason: Reason = ""
    mark: EventMark = EventMark.ACTUAL
    """Put on every event of it: a platform that is being joined gets what happens as `Test`."""
    state: Literal[SubscriptionState.ACTIVE, SubscriptionState.PAUSED] = SubscriptionState.ACTIVE

    @model_validator(mode="after")
    def _reasoned(self) -> SubscriptionEdit:
        if self.classes and len(self.classes_reason) < 2:
            raise ValueError("授予数据类别须写明理由 · say why these data classes are granted")
        return self


class SubscriptionIn(SubscriptionEdit):
    """`account_id`: a service account of yours. `start`: the number after which it begins; left out: what comes."""

    account_id: Id
    way: Way
    start: Seq | None = None

    @model_validator(mode="after")
    def _addressed(self) -> SubscriptionIn:
        if (self.way is Way.WEBHOOK) != (self.url is not None):
            raise ValueError("Webhook 须填网址，其他方式不填 · a webhook needs an address, nothing else has one")
        return self


class ProgressOut(Model):
    """`seq`: up to there everything was delivered, passed over or given up. Of `pull`: where it began, and since the
    platform keeps its own place there is no `behind`. `confirmed`: the farthest cursor that its receiver pulled with.
    `behind`: at most so many events are before it; the oldest of them is of `behind_since`."""

    seq: int
    confirmed: int
    behind: int | None
    behind_since: datetime | None
    replay_seq: int | None
    replay_upto: int | None
    next_at: datetime
    failures: int
    failing_since: datetime | None
    delivered: int
    delivered_at: datetime | None
    last_error: str | None
    dead_letters: int


class SubscriptionOut(Model):
    id: UUID
    account_id: str
    account: str | None
    community_id: str | None
    street_id: str | None
    name: str
    way: Way
    url: str | None
    format: Format
    types: list[str]
    communities: list[str]
    severities: list[Severity]
    kinds: list[str]
    classes: list[DataClass]
    classes_reason: str
    mark: EventMark
    state: SubscriptionState
    state_why: str
    version: int
    created_at: datetime
    created_by: str
    progress: ProgressOut


class SubscriptionPage(Page):
    items: list[SubscriptionOut]


class SigningKeyIn(Model):
    """`overlap_s`: for so long the keys before it sign as well; left out: they stay."""

    sort: Literal["hmac", "ed25519"] = "hmac"
    overlap_s: int | None = Field(default=None, ge=0, le=30 * 86_400)


class SigningKeyOut(Model):
    """`public`: what the receiver verifies by, of a key pair."""

    id: UUID
    sort: Literal["hmac", "ed25519"]
    public: str | None
    created_at: datetime
    created_by: str
    ends_at: datetime | None


class SigningKeys(Model):
    items: list[SigningKeyOut]


class NewSigningKeyOut(Model):
    """`secret`: of a shared secret, here and nowhere else."""

    key: SigningKeyOut
    secret: str | None


class BrokerLoginOut(Model):
    """A login at the broker. `name` is the client id too."""

    name: str
    created_at: datetime
    created_by: str
    ends_at: datetime | None


class BrokerLogins(Model):
    """`topics`: what each of them reads; subscribe to it or to a part of it, with QoS 1. `address`: of the broker,
    where it was set."""

    items: list[BrokerLoginOut]
    topics: str
    address: str | None


class BrokerLoginIn(Model):
    """`overlap_s`: for so long the logins before it read as well; left out: they stay."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"overlap_s": 86_400}]})

    overlap_s: int | None = Field(default=None, ge=0, le=30 * 86_400)


class NewBrokerLoginOut(Model):
    """`secret`: here and nowhere else. The broker takes it within seconds."""

    login: BrokerLoginOut
    secret: str
    topics: str
    address: str | None


class NewSubscriptionOut(Model):
    """In the first answer alone: `secret` of a webhook's first key, `broker` of an MQTT subscriber's first login. Lost,
    make another key or login."""

    subscription: SubscriptionOut
    secret: str | None = None
    broker: NewBrokerLoginOut | None = None


class CityAttemptOut(Model):
    """`sort`: event, replay or test. `status`: what the receiver answered, by MQTT the broker's reason code (0: taken);
    without one, `error` says why."""

    id: int
    seq: int
    type: str
    at: datetime
    ok: bool
    status: int | None
    error: str | None
    ms: int
    sort: Literal["event", "replay", "test"]


class CityAttemptPage(Page):
    items: list[CityAttemptOut]


class DeadLetterOut(Model):
    """`upto` is `seq`, save where a whole range was let go of before it was sent."""

    id: int
    seq: int
    upto: int
    type: str
    at: datetime
    why: str
    attempts: int
    replayed_at: datetime | None


class DeadLetterPage(Page):
    items: list[DeadLetterOut]


class ReplayIn(Model):
    """Both ends are sent again, as far as the outbox still holds them (30 days), before anything new."""

    first: int = Field(ge=1, le=2**62)
    last: int = Field(ge=1, le=2**62)

    @model_validator(mode="after")
    def _forward(self) -> ReplayIn:
        if self.last < self.first:
            raise ValueError("last 须不小于 first · last comes before first")
        return self


class TestOut(Model):
    """The test's `webhook-id` is `test-` and this; what came of it is in the delivery log."""

    __test__ = False

    test_id: UUID


class LostOut(Model):
    """Numbers that were let go of before they were asked for."""

    first: int
    last: int


class EventPage(Model):
    """`items`: CloudEvents 1.0 in JSON. `next`: the cursor to go on with, where nothing fitted too; `more`: at once."""

    items: list[dict[str, Any]]
    next: int
    more: bool
    lost: LostOut | None = None


class SchemaLine(Model):
    type: str
    version: int
    zh: str
    en: str
    schema_id: str
    url: str
    requires: list[DataClass]


class SchemaList(Model):
    """`ways`: by which a subscription may be made."""

    items: list[SchemaLine]
    ways: list[Way]
