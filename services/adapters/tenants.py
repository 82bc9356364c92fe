"""The login as which the API's requests come: made with its password, and proved to be no more than a tenant's."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import asyncpg

TENANT_ROLE = "linhub_tenant"
"""Owns nothing; sees what `tenant_enter` was told, and without that nothing (migrations/0028_separate_tenants.sql)."""
SERVICE_ROLE = "linhub_service"
_ROUNDS = 4096
_TRIES = 20
_REFUSED = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InsufficientPrivilegeError)


class LoginError(Exception):
    """The login cannot be made or must not be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Separation:
    """What a connection of the API may do, as it says itself.

    `seen`: communities it sees without a scope; `lifts`: it may lay down the tenants' role and be somebody else.
    """

    login: str
    role: str
    seen: int
    superuser: bool
    bypasses: bool
    serves: bool

    @property
    def lifts(self) -> bool:
        return self.superuser or self.bypasses or self.serves

    @property
    def holds(self) -> bool:
        return self.role == TENANT_ROLE and self.seen == 0


_LOOK = """
SELECT session_user AS login, current_user AS role, (SELECT count(*) FROM community) AS seen,
       r.rolsuper AS superuser, r.rolbypassrls AS bypasses, pg_has_role(session_user, $1, 'MEMBER') AS serves
FROM pg_roles AS r WHERE r.rolname = session_user
"""


async def separation(api_url: str) -> Separation:
    """Connects as the API does. Raises what the driver does where it may not."""
    connection = await asyncpg.connect(api_url, timeout=10, command_timeout=30, server_settings={"role": TENANT_ROLE})
    try:
        return Separation(**dict(await connection.fetchrow(_LOOK, SERVICE_ROLE)))
    finally:
        await connection.close()


async def ensure_login(owner_url: str, api_url: str) -> bool:
    """Makes or mends the login of `api_url` by that of the schema's owner; True where there was something to do.

    Raises LoginError, and what the driver does while the database is away.
    """
    told = urlsplit(api_url)
    name, password = unquote(told.username or ""), unquote(told.password or "")
    if not name or not password:
        raise LoginError("LINHUB_API_DATABASE_URL must name a login of its own, with its password")
    if name == unquote(urlsplit(owner_url).username or ""):
        raise LoginError(f"LINHUB_API_DATABASE_URL names {name}, the schema's owner: it must be a login of its own")
    mended = False
    try:
        found = await separation(api_url)
    except _REFUSED:
        for _ in range(_TRIES):
            if await _make(owner_url, name, password):
                break
            # Logins belong to the cluster: another database of it was making the same one.
            await asyncio.sleep(0.1)
        mended = True
        found = await separation(api_url)
    if found.lifts:
        raise LoginError(
            f"the login {name} is a superuser, bypasses row security or belongs to {SERVICE_ROLE}: tenants would not "
            "be kept apart; name another login, or an administrator runs: "
            f"ALTER ROLE {name} NOSUPERUSER NOBYPASSRLS; REVOKE {SERVICE_ROLE} FROM {name}"
        )
    return mended


async def _make(owner_url: str, name: str, password: str) -> bool:
    """False where somebody else was at the same login at the same moment."""
    connection = await asyncpg.connect(owner_url, timeout=10, command_timeout=30)
    try:
        async with connection.transaction():
            there = await connection.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", name)
            verb = "ALTER" if there else "CREATE"
            for pattern, values in (
                (f"{verb} ROLE %I LOGIN PASSWORD %L", (name, scram(password))),
                (f"GRANT {TENANT_ROLE} TO %I WITH INHERIT FALSE, SET TRUE", (name,)),
                ("GRANT CONNECT ON DATABASE %I TO %I", (await connection.fetchval("SELECT current_database()"), name)),
            ):
                statement = await connection.fetchval("SELECT format($1, VARIADIC $2::text[])", pattern, list(values))
                await connection.execute(statement)
    except asyncpg.InsufficientPrivilegeError as error:
        raise LoginError(
            f"the login {name} cannot be made ({error}); an administrator runs once: "
            f"CREATE ROLE {name} LOGIN PASSWORD '…'; GRANT {TENANT_ROLE} TO {name} WITH INHERIT FALSE, SET TRUE"
        ) from error
    except (asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError, asyncpg.InternalServerError):
        return False
    finally:
        await connection.close()
    return True


def scram(password: str, salt: bytes | None = None) -> str:
    """What the server keeps of a password (RFC 5802, RFC 7677): sent in its place, so that no log can hold it."""
    salt = salt or secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ROUNDS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt64, stored64, server64 = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${_ROUNDS}:{salt64}${stored64}:{server64}"
