"""OAuth2 client credentials (RFC 6749, section 4.4): a short session for the client of a platform or service."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from services.api.access.credentials import Credentials
from services.api.access.oauth import OAuthError, invalid_client
from services.api.identity.auth import Auth, Caller, Issued
from services.api.identity.lifetimes import Lifetime
from services.api.store import users
from services.api.store.database import Database
from services.api.store.tenancy import SERVICE
from services.api.web.problems import ApiError
from services.domain.access import PERMISSIONS, Permission

_CLIENT = re.compile(r"^lhc_([a-z0-9]{12})$")


class Clients:
    """The grant that `POST /auth/token` asks. Its session ends with the access token and is not renewed."""

    def __init__(self, database: Database, auth: Auth, credentials: Credentials, access_s: float) -> None:
        self._database = database
        self._auth = auth
        self._credentials = credentials
        self._lifetime = Lifetime(access_s, access_s)

    async def __call__(
        self, client_id: str, secret: str, scope: frozenset[Permission] | None, caller: Caller
    ) -> Issued:
        match = _CLIENT.match(client_id)
        if match is None:
            raise invalid_client()
        try:
            row = await self._credentials.key_row(match[1], secret, "client", caller.address)
        except ApiError as error:
            if error.status == HTTPStatus.TOO_MANY_REQUESTS:
                raise OAuthError("invalid_client", error.detail, error.status, error.headers) from None
            raise invalid_client() from None
        granted = _granted(row)
        if scope is not None:
            if not scope <= granted:
                raise OAuthError("invalid_scope", f"this client has: {' '.join(sorted(granted))}")
            granted = scope
        async with self._database.write(as_=SERVICE) as connection:
            return await self._auth.open(
                connection,
                users.account_of(row),
                caller,
                "client",
                limits=granted,
                lifetime=self._lifetime,
                label=f"client:{match[1]}",
                renewable=False,
            )


def _granted(row: Mapping[str, Any]) -> frozenset[Permission]:
    account = users.account_of(row)
    known = {one.value for one in Permission}
    named = frozenset(Permission(one) for one in row["scopes"] if one in known)
    return named & PERMISSIONS.get(account.principal.role, frozenset())
