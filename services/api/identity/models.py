"""What the API says and hears about accounts and sessions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from services.api.answers.models import LabelOut, Model, UserOut
from services.domain.vocabulary import Role, Team

UserName = Annotated[str, StringConstraints(pattern=r"^[\w][\w.@-]{1,63}$", strip_whitespace=True)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=80, strip_whitespace=True)]
Id = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class TokenOut(Model):
    """RFC 6749, section 5.1. `refresh_token` is missing where another request has just been given the next one."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "access_token": "eyJhbGciOiJIUzI1NiIs…",
                    "token_type": "Bearer",
                    "expires_in": 600,
                    "refresh_token": "q3VbW0m8….…",
                    "scope": "alerts orders",
                }
            ]
        }
    )

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105
    expires_in: int
    refresh_token: str | None = None
    scope: str | None = None


class OAuthProblem(Model):
    """RFC 6749, section 5.2."""

    error: str
    error_description: str


class RenewedOut(Model):
    """Cookies carry the tokens; this says how long they last."""

    expires_at: datetime
    session_expires_at: datetime
    user: UserOut


class OidcOut(Model):
    name: str
    issuer: str
    start: str


class LoginOptionsOut(Model):
    """What the login page has to know before anybody is known."""

    contact: str
    """Whom somebody who is locked out can ask; empty: the community desk."""
    password_shortest: int
    oidc: OidcOut | None


class SessionOut(Model):
    id: str
    sort: Literal["browser", "token", "oidc", "client", "display"]
    label: str
    created_at: datetime
    last_used_at: datetime
    """To five minutes."""
    expires_at: datetime
    """At the latest; unused, it ends at `idle_until`."""
    idle_until: datetime
    address: str
    agent: str
    limited: bool
    """Was given less than its account may do."""
    current: bool
    """The one this is asked with."""


class SessionPage(Model):
    items: list[SessionOut]
    next: str | None


class SessionsEndedOut(Model):
    ended: int


class PasswordIn(Model):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"current": "••••••••••", "new": "六月的雨下在老城墙上"}]}
    )

    current: str = Field(min_length=1, max_length=256)
    new: str = Field(min_length=1, max_length=256)


class AccountIn(Model):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"display_name": "李建国", "role": "grid", "team": "grid", "community_id": "gy", "grid_id": "gy-grid-1"}
            ]
        }
    )

    display_name: Name
    role: Role
    team: Team | None = None
    community_id: Id | None = None
    street_id: Id | None = None
    grid_id: Id | None = None
    household_id: Id | None = None


class AccountNew(AccountIn):
    username: UserName


class WhyIn(Model):
    why: str = Field(min_length=1, max_length=200, examples=["离职"])


class ExternalIdentityIn(Model):
    """Who somebody is at the other place of login, as that place's administrator names them."""

    issuer: str = Field(min_length=1, max_length=500, examples=["https://sso.example"])
    subject: str = Field(min_length=1, max_length=255, examples=["f3a1c9"])
    """The claim `sub`: never given away again, unlike names."""


class AccountOut(Model):
    id: str
    username: str
    display_name: str
    role: Role
    role_label: LabelOut
    team: Team | None
    community_id: str | None
    street_id: str | None
    grid_id: str | None
    household_id: str | None
    leads: bool
    service: bool
    """A program or a screen: comes in by key or pairing, never by password."""
    external: bool
    """Has logged in by another place of login."""
    created_at: datetime
    disabled_at: datetime | None
    must_change: bool
    password_until: datetime | None
    last_login_at: datetime | None
    locked_until: datetime | None
    """Somewhere, too many wrong passwords were given for it; until then that place has to wait."""
    version: int


class AccountPage(Model):
    items: list[AccountOut]
    next: str | None


AccountState = Literal["active", "disabled", "all"]


class AccountSearchIn(Model):
    model_config = ConfigDict(json_schema_extra={"examples": [{"words": "李娜", "state": "active"}]})

    words: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)] | None = Field(
        default=None, description="用户名或姓名，部分即可 · part of the user name or name"
    )
    community_id: Annotated[str, StringConstraints(max_length=64)] | None = None
    role: Role | None = None
    state: AccountState = "all"
    cursor: str | None = Field(default=None, max_length=512, description="`next` of the page before")
    limit: int = Field(default=50, ge=1, le=500)


class OneTimeOut(Model):
    """Shown once: it is kept as a hash only. The same request with the same key says it again."""

    account: AccountOut
    one_time_password: str
    until: datetime
