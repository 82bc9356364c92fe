"""RFC 6749 as far as it is spoken here: the form, the errors, and the place where clients are known."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from http import HTTPStatus
from typing import Protocol
from urllib.parse import parse_qsl, unquote_plus

from starlette.responses import Response

from services.api.identity.auth import Caller, Issued
from services.api.identity.models import OAuthProblem
from services.domain.access import Permission


class OAuthError(Exception):
    """Answered as RFC 6749, section 5.2."""

    def __init__(
        self,
        error: str,
        description: str,
        status: int = HTTPStatus.BAD_REQUEST,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status
        self.headers = dict(headers or {})

    def response(self) -> Response:
        said = OAuthProblem(error=self.error, error_description=self.description)
        headers = {"Cache-Control": "no-store", "Pragma": "no-cache", **self.headers}
        return Response(said.model_dump_json(), int(self.status), headers, "application/json")


class ClientGrant(Protocol):
    """Who knows the clients of platforms and services."""

    async def __call__(
        self, client_id: str, secret: str, scope: frozenset[Permission] | None, caller: Caller
    ) -> Issued:
        """A session for a client (`scope` None: all it has). Raises `invalid_client()`, or OAuthError invalid_scope."""
        ...


def invalid_client() -> OAuthError:
    return OAuthError(
        "invalid_client",
        "unknown client, or a wrong secret; an administrator can make a new one",
        HTTPStatus.UNAUTHORIZED,
        {"WWW-Authenticate": 'Basic realm="linhub"'},
    )


def form_of(body: bytes) -> dict[str, str]:
    """The parameters; empty ones count as left out. Raises OAuthError for one that stands twice, or no form at all."""
    try:
        pairs = parse_qsl(body.decode(), strict_parsing=bool(body), max_num_fields=32)
    except ValueError:
        raise OAuthError("invalid_request", "the body is not application/x-www-form-urlencoded") from None
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise OAuthError("invalid_request", "a parameter stands twice")
    return dict(pairs)


def required(form: Mapping[str, str], name: str, most: int = 256) -> str:
    value = form.get(name, "")
    if not value or len(value) > most or "\0" in value:
        raise OAuthError("invalid_request", f"{name} is missing, or too long")
    return value


def scope_of(form: Mapping[str, str]) -> frozenset[Permission] | None:
    """What was asked for; None: everything. The names are those of the permissions."""
    if "scope" not in form:
        return None
    names = form["scope"].split()
    unknown = sorted(set(names) - set(Permission))
    if unknown or not names:
        raise OAuthError("invalid_scope", f"unknown: {', '.join(unknown)[:100]}" if unknown else "empty")
    return frozenset(Permission(name) for name in names)


def client_of(form: Mapping[str, str], authorization: str) -> tuple[str, str]:
    """Id and secret, from the header or the form, never both. Raises OAuthError."""
    kind, _, given = authorization.partition(" ")
    if kind.lower() != "basic":
        return required(form, "client_id"), required(form, "client_secret")
    if "client_secret" in form:
        raise OAuthError("invalid_request", "the client names itself twice")
    try:
        name, colon, secret = base64.b64decode(given, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise invalid_client() from None
    if not colon:
        raise invalid_client()
    return unquote_plus(name), unquote_plus(secret)
