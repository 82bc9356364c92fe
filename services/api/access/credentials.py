"""What comes with a request, of any sort: a session's token, the key of a platform, the cookie of a screen."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from uuid import UUID

from services.api.identity.auth import Auth, Ticket, unauthorised
from services.api.identity.recent import Recent
from services.api.store import access, users
from services.api.store.database import Database
from services.api.store.tenancy import SERVICE
from services.api.web.problems import ApiError
from services.api.web.rates import Rate
from services.domain.access import PERMISSIONS, Permission
from services.domain.vocabulary import Role

KEY, DISPLAY = "lhk_", "lhd_"
_KEY_TEXT = re.compile(r"^lhk_([a-z0-9]{12})_([A-Za-z0-9_-]{43})$")
_DISPLAY_TEXT = re.compile(r"^lhd_([0-9a-f]{32})_([A-Za-z0-9_-]{43})$")
_ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_USED_EVERY = timedelta(minutes=10)
_SEEN_EVERY = timedelta(seconds=30)


def new_id() -> str:
    """Twelve letters and digits: a name, no secret."""
    return "".join(secrets.choice(_ID_LETTERS) for _ in range(12))


def new_secret() -> str:
    """256 random bits, in 43 letters."""
    return secrets.token_urlsafe(32)


def hashed(secret: str) -> bytes:
    """A secret of 256 random bits cannot be guessed from its hash, so one round is enough."""
    return hashlib.sha256(secret.encode()).digest()


def key_text(id: str, secret: str) -> str:
    return f"{KEY}{id}_{secret}"


def display_text(id: UUID, secret: str) -> str:
    return f"{DISPLAY}{id.hex}_{secret}"


def display_of(ticket: Ticket) -> UUID | None:
    """Which screen asks; None for everybody else."""
    sort, _, id = ticket.token_id.partition(":")
    return UUID(id) if sort == "display" else None


def admits(addresses: Sequence[Any], address: str) -> bool:
    """Whether one of these networks holds the address; no networks hold every address."""
    if not addresses:
        return True
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return any(found in ipaddress.ip_network(str(one)) for one in addresses)


class Credentials:
    """Verifies keys and screens itself and leaves sessions to `identity.auth`.

    A row is read again after `check_s`, and at once when `forget` is told that it changed.
    """

    def __init__(
        self,
        database: Database,
        auth: Auth,
        *,
        check_s: float,
        display_idle: timedelta,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._auth = auth
        self._idle = display_idle
        self._clock = clock
        self._known: Recent[Mapping[str, Any]] = Recent(check_s, clock)
        self._rates: dict[int, Rate] = {}

    async def ticket(self, token: str, address: str) -> Ticket:
        """Raises ApiError 401, 403 (a key from an address it is not for) or 429 (a key that asks too often)."""
        if token.startswith(KEY):
            return await self._key(token, address)
        if token.startswith(DISPLAY):
            return await self._display(token, address)
        return await self._auth.verify(token)

    async def key_row(self, id: str, secret: str, sort: str, address: str) -> Mapping[str, Any]:
        """The live key or client with its account. Raises as `ticket`."""
        row = await self._row(f"key:{id}")
        if row is None or row["sort"] != sort or not hmac.compare_digest(row["secret_hash"], hashed(secret)):
            raise unauthorised("密钥不对；请核对或新建一个 · not a key of this system; check it or make a new one")
        why = _ended(row)
        if why is not None:
            raise unauthorised(f"密钥{why[0]}，请向管理员要新的 · the key {why[1]}; ask an administrator for a new one")
        if not admits(row["addresses"], address):
            raise ApiError(
                HTTPStatus.FORBIDDEN,
                "此密钥不允许从该地址使用，请管理员把地址加入名单 · this key may not be used from this address; "
                "an administrator can add it to the key's list",
            )
        await self._touch_key(row)
        return row

    async def _key(self, token: str, address: str) -> Ticket:
        match = _KEY_TEXT.match(token)
        if match is None:
            raise unauthorised("密钥格式不对 · this is not how a key looks: lhk_<id>_<secret>")
        row = await self.key_row(match[1], match[2], "key", address)
        wait_s = self._rates.setdefault(row["per_minute"], Rate(row["per_minute"], self._clock)).wait_s(match[1])
        if wait_s:
            raise ApiError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"此密钥每分钟限 {row['per_minute']} 次，请 {wait_s} 秒后再试 · "
                f"this key may ask {row['per_minute']} times a minute; try again in {wait_s} s",
                headers={"Retry-After": str(wait_s)},
            )
        return _ticket(f"key:{match[1]}", row)

    async def _display(self, token: str, address: str) -> Ticket:
        match = _DISPLAY_TEXT.match(token)
        id = UUID(match[1]) if match else None
        row = await self._row(f"display:{id}") if id is not None else None
        if match is None or row is None or row["secret_hash"] is None:
            raise unauthorised("此屏未配对，请重新配对 · this screen is not paired; pair it again")
        if not hmac.compare_digest(row["secret_hash"], hashed(match[2])):
            raise unauthorised("此屏已被重新配对 · this screen was paired anew elsewhere")
        if _ended(row) is not None:
            raise unauthorised("此屏已被断开，请重新配对 · this screen was cut off by the desk; pair it again")
        await self._touch_displays([row], address)
        return _ticket(f"display:{id}", row)

    async def _row(self, name: str) -> Mapping[str, Any] | None:
        async def read() -> Mapping[str, Any] | None:
            return (await self._read([name])).get(name)

        return await self._known.get(name, read)

    async def _read(self, names: Iterable[str]) -> dict[str, Mapping[str, Any]]:
        parts = [name.partition(":") for name in names]
        key_ids = [id for sort, _, id in parts if sort == "key"]
        display_ids = [UUID(id) for sort, _, id in parts if sort == "display"]
        found: dict[str, Mapping[str, Any]] = {}
        async with self._database.read(as_=SERVICE) as connection:
            if key_ids:
                rows = await access.keys_with_accounts(connection, key_ids)
                found.update({f"key:{id}": row for id, row in rows.items()})
            if display_ids:
                screens = await access.displays_with_accounts(connection, display_ids)
                found.update({f"display:{id}": row for id, row in screens.items()})
        return found

    async def _touch_key(self, row: Mapping[str, Any]) -> None:
        if _older(row["last_used_at"], _USED_EVERY):
            async with self._database.write(as_=SERVICE) as connection:
                await access.key_used(connection, [row["key_id"]])
            self._known.drop(f"key:{row['key_id']}")

    async def _touch_displays(self, rows: Sequence[Mapping[str, Any]], address: str | None) -> None:
        """A screen that is in use is seen, and its end moves on."""
        late = [row["display_id"] for row in rows if _older(row["last_seen_at"], _SEEN_EVERY)]
        if late:
            async with self._database.write(as_=SERVICE) as connection:
                await access.display_seen(connection, late, self._idle, inet(address))
            for id in late:
                self._known.drop(f"display:{id}")

    async def still_valid(self, tickets: Iterable[Ticket]) -> set[str]:
        """Of these, the ids of those that still stand; read afresh, one query for each sort."""
        wanted = list(tickets)
        ours = {one.token_id: one for one in wanted if one.token_id.partition(":")[0] in ("key", "display")}
        others = [one for one in wanted if one.token_id not in ours]
        valid = set(await self._auth.still_valid(others)) if others else set()
        if not ours:
            return valid
        reading = self._known.begin()
        rows = await self._read(ours)
        self._known.keep({name: rows.get(name) for name in ours}, reading)
        for name, ticket in ours.items():
            row = rows.get(name)
            if row is None or _ended(row) is not None:
                continue
            fresh = _ticket(name, row)
            if fresh.principal == ticket.principal and fresh.limits == ticket.limits:
                valid.add(name)
        await self._touch_displays([rows[name] for name in valid if name.startswith("display:")], None)
        return valid

    def forget(self, name: str) -> None:
        """`session:…`, `key:…` or `display:…` has changed; of an account (`user:…`), everything that hangs on it."""
        self._auth.revoked(name)
        sort, _, id = name.partition(":")
        if sort != "user":
            self._known.drop(name)
            return
        self._known.drop_where(lambda row: row is not None and row["id"] == id)


def _ticket(name: str, row: Mapping[str, Any]) -> Ticket:
    principal = users.account_of(row).principal
    given = PERMISSIONS.get(principal.role, frozenset())
    if name.startswith("key:"):
        given &= frozenset(Permission(one) for one in row["scopes"] if one in _PERMISSIONS)
    elif principal.role is not Role.DISPLAY:
        given = frozenset()
    return Ticket(replace(principal, limits=given), name, row["expires_at"], limits=given)


_PERMISSIONS = frozenset(one.value for one in Permission)


def _ended(row: Mapping[str, Any]) -> tuple[str, str] | None:
    """Why it is no good any more, in both languages."""
    if row["revoked_at"] is not None:
        return "已撤销", "was revoked"
    if row["expires_at"] <= datetime.now(UTC):
        return "已过期", "has run out"
    if row["disabled"]:
        return "所属账号已停用", "belongs to an account that is disabled"
    return None


def _older(at: datetime | None, than: timedelta) -> bool:
    return at is None or datetime.now(UTC) - at > than


def inet(address: str | None) -> str | None:
    """What the database takes as an address; None for names and the like."""
    if address is None:
        return None
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
        return str(getattr(found, "ipv4_mapped", None) or found)
    except ValueError:
        return None
