"""Login at another place by OpenID Connect: authorization code with PKCE, state and nonce, bound to an account here."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

import httpx
import jwt as signing
import structlog
from authlib.common.errors import AuthlibBaseError
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from services.api.identity.auth import Auth, Caller, Issued
from services.api.identity.store import Q
from services.api.settings import ApiSettings
from services.api.store import system, users
from services.api.store.database import Connection, Database
from services.api.store.tenancy import SERVICE
from services.domain.vocabulary import Role, Team

log = structlog.get_logger(__name__)

STATE_S = 600.0
_FRESH_S = 3600.0
_AGAIN_S = 60.0
"""Keys are asked for again at most so often, however many tokens name one that nobody has."""
_SKEW_S = 60
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Asymmetric ones alone: what a client could sign itself proves nothing."""
_STATE_TYPE = "oidc-state"
_UNUSABLE = "!"
LINKED_BY_NAME = frozenset({Role.STAFF, Role.GRID, Role.RESIDENT, Role.MERCHANT, Role.VISITOR})
"""Whoever sees or steers more than these is linked by an administrator, for a name may be somebody's own choice."""


class OidcError(Exception):
    """A login that did not come about; the message is a word for the login page: `state`, `away`, `token`, `unknown`,
    `disabled`, `denied`."""


@dataclass(frozen=True, slots=True)
class Begun:
    """Where to send the browser, and the cookie that proves later that it was this one."""

    url: str
    cookie: str


class Oidc:
    """One provider. What it publishes is kept for an hour; nothing of it is asked for before somebody logs in."""

    def __init__(self, settings: ApiSettings, auth: Auth, database: Database) -> None:
        self._issuer = settings.oidc_issuer
        self._client_id = settings.oidc_client_id
        self._secret = settings.oidc_client_secret.get_secret_value()
        self._claim = settings.oidc_claim
        self._scope = settings.oidc_scope
        self._link_by_name = settings.oidc_link == "by_name"
        self._role, self._community = settings.oidc_role, settings.oidc_community
        self._keys = settings.keys
        self._auth, self._database = auth, database
        self.name = settings.oidc_name or urlsplit(self._issuer).netloc
        self._metadata: tuple[float, dict[str, Any]] | None = None
        self._jwks: tuple[float, KeySet] | None = None

    @property
    def issuer(self) -> str:
        return self._issuer

    @classmethod
    def of(cls, settings: ApiSettings, auth: Auth, database: Database) -> Oidc | None:
        return cls(settings, auth, database) if settings.oidc_issuer and settings.oidc_client_id else None

    async def begin(self, redirect_uri: str) -> Begun:
        """Raises OidcError `away`."""
        metadata = await self._published()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": redirect_uri,
            "scope": self._scope,
            "state": state,
            "nonce": nonce,
            "code_challenge": create_s256_code_challenge(verifier),
            "code_challenge_method": "S256",
        }
        kept = {"state": state, "nonce": nonce, "verifier": verifier, "exp": time.time() + STATE_S}
        cookie = signing.encode(kept, self._keys[0], algorithm="HS256", headers={"typ": _STATE_TYPE})
        endpoint = metadata["authorization_endpoint"]
        return Begun(f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}", cookie)

    async def finish(self, cookie: str, query: Mapping[str, str], redirect_uri: str, caller: Caller) -> Issued:
        """Raises OidcError, ApiError 429, and the database's own errors."""
        self._auth.admit(caller)
        kept = self._kept(cookie)
        if kept is None or not secrets.compare_digest(kept["state"].encode(), query.get("state", "").encode()):
            raise OidcError("state")
        if query.get("iss", self._issuer) != self._issuer:
            raise OidcError("state")
        if "error" in query or "code" not in query:
            raise OidcError("denied")
        tokens = await self._exchange(query["code"], kept["verifier"], redirect_uri)
        claims = await self._claims(tokens, kept["nonce"])
        async with self._database.write(as_=SERVICE) as connection:
            account = await self._account(connection, claims)
            if account.disabled:
                raise OidcError("disabled")
            return await self._auth.open(connection, account, caller, "oidc", label=self.name)

    def _kept(self, cookie: str) -> dict[str, str] | None:
        for key in self._keys:
            try:
                whole = signing.decode_complete(cookie, key, algorithms=["HS256"], options={"require": ["exp"]})
            except signing.InvalidTokenError:
                continue
            return dict(whole["payload"]) if whole["header"].get("typ") == _STATE_TYPE else None
        return None

    # -- what the provider says -----------------------------------------------------------------------------------

    async def _ask(self, method: str, url: str, **more: Any) -> dict[str, Any]:
        """Its answer as JSON. Raises OidcError `away` for no answer, `token` for a refusal."""
        try:
            async with httpx.AsyncClient(timeout=5.0, follow_redirects=False, trust_env=True) as http:
                answer = await http.request(method, url, headers={"Accept": "application/json"}, **more)
                body = answer.json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            log.warning("oidc_provider_away", url=url, why=str(error) or type(error).__name__)
            raise OidcError("away") from None
        if answer.status_code != 200 or not isinstance(body, dict):
            log.warning("oidc_provider_refused", url=url, status=answer.status_code)
            raise OidcError("away" if answer.status_code >= 500 else "token")
        return body

    async def _published(self) -> dict[str, Any]:
        if self._metadata is None or time.monotonic() - self._metadata[0] > _FRESH_S:
            found = await self._ask("GET", f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
            needed = ("authorization_endpoint", "token_endpoint", "jwks_uri")
            if found.get("issuer") != self._issuer or not all(isinstance(found.get(name), str) for name in needed):
                log.warning("oidc_provider_is_another", issuer=found.get("issuer"))
                raise OidcError("away")
            self._metadata = (time.monotonic(), found)
        return self._metadata[1]

    async def _key_set(self, *, older_than_s: float = _FRESH_S) -> KeySet:
        if self._jwks is None or time.monotonic() - self._jwks[0] > older_than_s:
            body = await self._ask("GET", (await self._published())["jwks_uri"])
            try:
                keys = KeySet.import_key_set(body)  # type: ignore[arg-type]
            except (JoseError, KeyError, ValueError, TypeError):
                raise OidcError("away") from None
            self._jwks = (time.monotonic(), keys)
        return self._jwks[1]

    async def _exchange(self, code: str, verifier: str, redirect_uri: str) -> dict[str, Any]:
        metadata = await self._published()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
            "client_id": self._client_id,
        }
        ways = metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        more: dict[str, Any] = {"data": form}
        if self._secret and "client_secret_basic" in ways:
            more["auth"] = (self._client_id, self._secret)
        elif self._secret:
            form["client_secret"] = self._secret
        return await self._ask("POST", metadata["token_endpoint"], **more)

    async def _claims(self, tokens: Mapping[str, Any], nonce: str) -> Mapping[str, Any]:
        """Of the identity token, once signature, issuer, audience, time and nonce are right. Raises OidcError."""
        try:
            token = await self._decoded(str(tokens["id_token"]))
            claims = CodeIDToken(
                token.claims,
                token.header,
                options={
                    "iss": {"essential": True, "value": self._issuer},
                    "aud": {"essential": True, "value": self._client_id},
                    "nonce": {"essential": True, "value": nonce},
                },
                params={"nonce": nonce, "client_id": self._client_id, "access_token": tokens.get("access_token")},
            )
            claims.validate(leeway=_SKEW_S)
        except (JoseError, AuthlibBaseError, KeyError, ValueError, TypeError) as error:
            log.warning("oidc_token_refused", why=type(error).__name__)
            raise OidcError("token") from None
        return dict(token.claims)

    async def _decoded(self, text: str) -> jwt.Token:
        """With the keys that are known, else with those of now: a provider may have changed them."""
        try:
            return jwt.decode(text, await self._key_set(), algorithms=_ALGORITHMS)
        except (JoseError, ValueError):
            return jwt.decode(text, await self._key_set(older_than_s=_AGAIN_S), algorithms=_ALGORITHMS)

    # -- whom it stands for here ----------------------------------------------------------------------------------

    async def _account(self, connection: Connection, claims: Mapping[str, Any]) -> users.Account:
        """By the subject, once it is bound. At the first login an account may be made, or bound by the user name that
        the claim gives where the settings say so and its role watches over nobody."""
        subject, username = str(claims["sub"]), str(claims.get(self._claim, "")).strip()
        bound = await connection.fetchval(Q["external_user"], self._issuer, subject)
        if bound is not None:
            return (await users.by_ids(connection, [bound]))[bound]
        account = await users.by_username(connection, username) if username else None
        if account is not None and not (self._link_by_name and account.principal.role in LINKED_BY_NAME):
            log.warning("oidc_account_is_not_linked", account=account.principal.id)
            raise OidcError("unknown")
        if account is None and self._role and 2 <= len(username) <= 64:
            account = await self._made(connection, username, str(claims.get("name") or username)[:80])
        if account is None:
            raise OidcError("unknown")
        who = account.principal
        if await connection.fetchval(Q["external_link"], self._issuer, subject, who.id) is None:
            # The name belongs to somebody else there by now: names are given away again, subjects are not.
            raise OidcError("unknown")
        await system.audit(connection, who, who.community_id, "account.link", f"user:{who.id}", {"at": self._issuer})
        return account

    async def _made(self, connection: Connection, username: str, name: str) -> users.Account | None:
        team = Team.GENERAL if self._role == "staff" else None
        await connection.execute(
            Q["account_insert"], f"user-{uuid4()}", username, _UNUSABLE, name, self._role, team,
            self._community or None, None, None, None, False, None, None,
        )  # fmt: skip
        return await users.by_username(connection, username)
