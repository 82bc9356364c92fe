"""The shapes of keys, clients, screens and the audit trail."""

from __future__ import annotations

import ipaddress
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field, StringConstraints

from services.api.answers.models import Model, Page
from services.domain.access import Permission
from services.domain.vocabulary import Role

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80, pattern=r"^[^\x00]*$")]
Place = Annotated[str, StringConstraints(strip_whitespace=True, max_length=80, pattern=r"^[^\x00]*$")]
ServiceRole = Literal[Role.PLATFORM, Role.DESK, Role.STREET, Role.ADMIN]
KeySort = Literal["key", "client"]


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text.strip(), strict=False))
    except ValueError:
        raise ValueError("一个网络，如 203.0.113.0/24 · a network such as 203.0.113.0/24 or 2001:db8::/32") from None


Network = Annotated[str, Field(max_length=64), AfterValidator(_network)]


class ServiceIn(Model):
    """`community_id` and `street_id`: at most one; neither: the maker's own scope."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "城市运行平台", "role": "platform", "community_id": None}]}
    )

    name: Name
    role: ServiceRole = Role.PLATFORM
    community_id: str | None = Field(default=None, max_length=64)
    street_id: str | None = Field(default=None, max_length=64)


class ServiceOut(Model):
    id: str
    name: str
    role: Role
    community_id: str | None
    street_id: str | None
    created_at: datetime
    disabled: bool
    keys: int
    """How many of its keys and clients are alive."""


class ServicePage(Page):
    items: list[ServiceOut]


class KeyIn(Model):
    """`scopes`: what it may do, of what its account's role and you yourself may. `addresses`: from where; empty: from
    anywhere."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "一网统管对接",
                    "sort": "key",
                    "scopes": ["community", "alerts", "orders"],
                    "addresses": ["203.0.113.0/24"],
                    "days": 180,
                }
            ]
        }
    )

    name: Name
    sort: KeySort = "key"
    scopes: list[Permission] = Field(min_length=1, max_length=len(Permission))
    addresses: list[Network] = Field(default=[], max_length=32)
    per_minute: int | None = Field(default=None, ge=1, le=100_000)
    days: int = Field(default=365, ge=1, le=1095)


class KeyOut(Model):
    """`status`: `alive`, `revoked`, `expired`, or `disabled` with its account."""

    id: str
    user_id: str
    account: str
    role: Role
    community_id: str | None
    sort: KeySort
    name: str
    scopes: list[str]
    addresses: list[str]
    per_minute: int
    created_at: datetime
    created_by: str
    expires_at: datetime
    last_used_at: datetime | None
    """To ten minutes."""
    rotated_from: str | None
    revoked_at: datetime | None
    revoked_by: str | None
    status: Literal["alive", "revoked", "expired", "disabled"]


class KeyPage(Page):
    items: list[KeyOut]


class NewKeyOut(Model):
    """Shown this once: only a hash of it is kept. A key goes into `Authorization: Bearer` or `X-API-Key`; a client's
    id and secret go to the token endpoint."""

    key: KeyOut
    secret: str
    client_id: str | None = None


class Rotation(Model):
    """How long the key before goes on working beside the new one."""

    overlap_s: int = Field(default=86_400, ge=0, le=30 * 86_400)


class PairingOut(Model):
    """What a screen shows until somebody types the code in. `secret` stays with the screen."""

    id: UUID
    code: str = Field(examples=["HK4T-9WXC"])
    secret: str
    expires_at: datetime
    poll_s: float
    address: str
    """Where to type it in, as the QR says too."""
    qr: str
    """SVG."""


class ClaimIn(Model):
    secret: str = Field(min_length=16, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")


class ClaimOut(Model):
    """`waiting`: nobody has typed the code in; `paired`: the cookie is set; `expired`: ask for another code."""

    state: Literal["waiting", "paired", "expired"]
    community_id: str | None = None
    name: str | None = None


class DisplayIn(Model):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"code": "HK4T-9WXC", "name": "大厅主屏", "place": "1号楼大厅"}]}
    )

    code: str = Field(min_length=6, max_length=16, pattern=r"^[^\x00]*$")
    name: Name
    place: Place = ""


class DisplayEdit(Model):
    name: Name
    place: Place = ""


class DisplayOut(Model):
    """`status`: `waiting` until it has fetched its session, `seen` within two minutes, `away`, `revoked`, `expired`."""

    id: UUID
    community_id: str
    name: str
    place: str
    version: int
    paired_at: datetime
    paired_by: str | None
    last_seen_at: datetime | None
    address: str | None
    build: str | None
    expires_at: datetime
    revoked_at: datetime | None
    revoked_by: str | None
    status: Literal["waiting", "seen", "away", "revoked", "expired"]


class DisplayPage(Page):
    items: list[DisplayOut]
    build: str
    """Of the page that this API serves; a screen with another one has not loaded it yet."""


class RefreshIn(Model):
    build: str = Field(default="", max_length=64, pattern=r"^[A-Za-z0-9_.-]*$")


class RefreshOut(Model):
    """`build`: of the page now; a screen that runs another one loads it."""

    name: str
    community_id: str
    expires_at: datetime
    build: str


class AuditOut(Model):
    """One line of the trail. `hash` covers it and all before it."""

    id: int
    at: AwareDatetime
    actor_id: str
    actor: str | None
    actor_role: str
    community_id: str | None
    action: str
    subject: str
    detail: Any
    hash: str


class AuditPage(Page):
    items: list[AuditOut]


Filter = Annotated[str, StringConstraints(strip_whitespace=True, max_length=128, pattern=r"^[^\x00]*$")]


class AuditSearchIn(Model):
    model_config = ConfigDict(json_schema_extra={"examples": [{"actor": "李娜", "action": "key."}]})

    actor: Filter | None = Field(default=None, description="账号编号、用户名或姓名 id, user name or name of an account")
    action: Filter | None = Field(default=None, description="开头 beginning, such as `key.`")
    subject: Filter | None = Field(default=None, description="开头 beginning, such as `device:`")
    from_: AwareDatetime | None = Field(default=None, alias="from")
    to: AwareDatetime | None = None
    cursor: str | None = Field(default=None, max_length=512, description="`next` of the page before")
    limit: int = Field(default=100, ge=1, le=500)


class ChainOut(Model):
    """`rows` lines from `from_id` on were found good. `wrong_id` and `fault`: the first that is not, and why; none: all
    up to `head_id` continue each other. Note `head_id` and `head_hash` elsewhere to prove it once more."""

    at: AwareDatetime
    from_id: int
    rows: int
    head_id: int | None
    head_hash: str | None
    wrong_id: int | None
    fault: Literal["edited", "missing", "moved", "foreign", "rewritten", "cut off"] | None
