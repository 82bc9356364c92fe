"""Who somebody is: passwords (argon2), signed sessions (JWT), and accounts read again within seconds of a change."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import jwt
from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError

from services.api.database import Database
from services.api.limits import FailureLimit
from services.api.problems import ApiError
from services.api.store import users
from services.api.tenancy import SERVICE
from services.domain.access import Permission, Principal, allowed

_ALGORITHM = "HS256"
_ISSUER = "linhub"
_HASHER = PasswordHash.recommended()
_KEPT = 20_000


@dataclass(frozen=True, slots=True)
class Ticket:
    """A verified session: whose, until when, and which (its id can be ended).

    `limits`: what an API key or a screen was given of its account's permissions; None leaves them whole.
    """

    principal: Principal
    token_id: str
    password_mark: str
    expires_at: datetime
    limits: frozenset[Permission] | None = None

    def may(self, permission: Permission) -> bool:
        return allowed(self.principal.role, permission) and (self.limits is None or permission in self.limits)


@dataclass(frozen=True, slots=True)
class Issued:
    token: str
    ticket: Ticket


@dataclass(frozen=True, slots=True)
class _Claims:
    user_id: str
    token_id: str
    password_mark: str
    expires_at: datetime


def unauthorised(detail: str) -> ApiError:
    return ApiError(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": "Bearer"})


def password_mark(password_hash: str) -> str:
    """Stands in the session, so that a new password ends what was opened with the old one; reveals nothing of it."""
    return hashlib.sha256(password_hash.encode()).hexdigest()[:16]


class Auth:
    """Logs in, verifies and ends sessions. Ended sessions are remembered until they expire or this process ends."""

    def __init__(
        self,
        database: Database,
        *,
        key: str,
        session_s: float,
        check_s: float,
        failures_per_min: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._key = key
        self._session = timedelta(seconds=session_s)
        self._check_s = check_s
        self._clock = clock
        self._limit = FailureLimit(failures_per_min)
        self._accounts: OrderedDict[str, tuple[float, users.Account | None]] = OrderedDict()
        self._ended: OrderedDict[str, datetime] = OrderedDict()
        self._verifying = asyncio.Semaphore(2)
        self._nobody = _HASHER.hash(secrets.token_urlsafe(16))

    async def login(self, username: str, password: str, address: str) -> Issued:
        """Raises ApiError 401 (alike for unknown, wrong and disabled) or 429 with Retry-After."""
        wait_s = self._limit.wait_s(username, address, self._clock())
        if wait_s > 0:
            seconds = int(wait_s) + 1
            raise ApiError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"尝试过多，请 {seconds} 秒后再试 · too many attempts; try again in {seconds} s",
                headers={"Retry-After": str(seconds)},
            )
        async with self._database.read(as_=SERVICE) as connection:
            account = await users.by_username(connection, username)
        stored = account.password_hash if account else self._nobody
        right = await self._verify(password, stored)
        if account is None or not right or account.disabled:
            self._limit.failed(username, address, self._clock())
            raise unauthorised(
                "用户名或密码不对，或账号已停用；请联系社区值班重置 · "
                "wrong user name or password, or the account is disabled; the community desk can reset it"
            )
        self._limit.succeeded(username, address)
        self._remember(account.principal.id, account)
        return self._issue(account)

    async def _verify(self, password: str, stored: str) -> bool:
        """On a thread: argon2 takes tens of milliseconds and must not hold up live streams; two at a time."""
        async with self._verifying:
            try:
                return await asyncio.to_thread(_HASHER.verify, password, stored)
            except UnknownHashError:
                return False

    def _issue(self, account: users.Account) -> Issued:
        now = datetime.now(UTC)
        expires_at = (now + self._session).replace(microsecond=0)
        token_id = secrets.token_urlsafe(12)
        mark = password_mark(account.password_hash)
        claims = {
            "iss": _ISSUER,
            "sub": account.principal.id,
            "iat": now,
            "exp": expires_at,
            "jti": token_id,
            "pwm": mark,
        }
        token = jwt.encode(claims, self._key, algorithm=_ALGORITHM)
        return Issued(token, Ticket(account.principal, token_id, mark, expires_at))

    async def verify(self, token: str) -> Ticket:
        """The session behind a token, its account as it is now (at most `check_s` old). Raises ApiError 401."""
        claims = self._claims(token)
        account = await self._account(claims.user_id)
        ticket = self._ticket(claims, account)
        if ticket is None:
            raise unauthorised("登录已失效，请重新登录 · the session has ended; log in again")
        return ticket

    def _claims(self, token: str) -> _Claims:
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[_ALGORITHM],
                issuer=_ISSUER,
                options={"require": ["sub", "exp", "jti", "pwm"]},
            )
        except jwt.InvalidTokenError:
            raise unauthorised("登录已失效，请重新登录 · the session has ended; log in again") from None
        return _Claims(claims["sub"], claims["jti"], claims["pwm"], datetime.fromtimestamp(claims["exp"], UTC))

    def _ticket(self, claims: _Claims, account: users.Account | None) -> Ticket | None:
        if account is None or account.disabled or claims.token_id in self._ended:
            return None
        if password_mark(account.password_hash) != claims.password_mark:
            return None
        return Ticket(account.principal, claims.token_id, claims.password_mark, claims.expires_at)

    async def _account(self, user_id: str) -> users.Account | None:
        known = self._accounts.get(user_id)
        if known is not None and self._clock() - known[0] < self._check_s:
            return known[1]
        async with self._database.read(as_=SERVICE) as connection:
            account = (await users.by_ids(connection, [user_id])).get(user_id)
        self._remember(user_id, account)
        return account

    def _remember(self, user_id: str, account: users.Account | None) -> None:
        self._accounts[user_id] = (self._clock(), account)
        self._accounts.move_to_end(user_id)
        while len(self._accounts) > _KEPT:
            self._accounts.popitem(last=False)

    def end(self, ticket: Ticket) -> None:
        """Ends this one session; live streams opened with it are cut at their next check."""
        self._ended[ticket.token_id] = ticket.expires_at
        now = datetime.now(UTC)
        while self._ended and (len(self._ended) > _KEPT or next(iter(self._ended.values())) < now):
            self._ended.popitem(last=False)

    async def still_valid(self, tickets: Iterable[Ticket]) -> set[str]:
        """Of these sessions, the ids of those that still stand; read afresh, one query for all."""
        wanted = list(tickets)
        async with self._database.read(as_=SERVICE) as connection:
            accounts = await users.by_ids(connection, sorted({ticket.principal.id for ticket in wanted}))
        for ticket in wanted:
            self._remember(ticket.principal.id, accounts.get(ticket.principal.id))
        now = datetime.now(UTC)
        return {
            ticket.token_id
            for ticket in wanted
            if ticket.expires_at > now
            and ticket.token_id not in self._ended
            and (account := accounts.get(ticket.principal.id)) is not None
            and not account.disabled
            and account.principal == ticket.principal
            and password_mark(account.password_hash) == ticket.password_mark
        }
