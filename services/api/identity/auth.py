"""Logs in, verifies, renews and ends sessions: rows that every process reads, so that an end is an end everywhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus

import structlog

from services.api.identity import store
from services.api.identity.gate import Gate
from services.api.identity.hashing import Hashing, password_mark
from services.api.identity.lifetimes import Lifetime
from services.api.identity.recent import Recent
from services.api.identity.store import Opening, Renewal, SessionRow, Sort
from services.api.identity.tokens import Tokens, digest, new_session_id
from services.api.store import system, users
from services.api.store.database import Connection, Database
from services.api.store.tenancy import SERVICE
from services.api.web.limits import Buckets, Rate, network_of
from services.api.web.problems import ApiError
from services.domain.access import Permission, Principal, allowed
from services.domain.vocabulary import Role

log = structlog.get_logger(__name__)

GRACE_S = 10.0
"""Tabs that renew at the same moment: the second of them comes with a token that the first has just used up."""
_CHANGE_ONLY = frozenset({Permission.SELF})


@dataclass(frozen=True, slots=True)
class Ticket:
    """A verified session: whose, until when at most, and which (its id can be ended).

    `limits`: what an API key or a screen was given of its account's permissions; None leaves them whole.
    """

    principal: Principal
    token_id: str
    expires_at: datetime
    limits: frozenset[Permission] | None = None
    must_change: bool = False
    """Came in by a one-time password: may do nothing but choose one of their own."""

    def may(self, permission: Permission) -> bool:
        return allowed(self.principal.role, permission) and (self.limits is None or permission in self.limits)


@dataclass(frozen=True, slots=True)
class Issued:
    """`refresh` is None where the session cannot be renewed, or another tab has just been given its next token."""

    token: str
    expires_at: datetime
    refresh: str | None
    ticket: Ticket


@dataclass(frozen=True, slots=True)
class Caller:
    """Where a request comes from."""

    address: str
    agent: str = ""

    @property
    def network(self) -> str:
        return network_of(self.address)


def unauthorised(detail: str) -> ApiError:
    return ApiError(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": "Bearer"})


def ended() -> ApiError:
    return unauthorised("登录已失效，请重新登录 · the session has ended; log in again")


def ticket_of(session: SessionRow | None) -> Ticket | None:
    """None where the session, its account or its password is not what it was."""
    if session is None or not session.stands or session.account.disabled:
        return None
    account = session.account
    if session.password_mark is not None and session.password_mark != password_mark(account.password_hash):
        return None
    limits = session.limits
    must_change = account.must_change and session.password_mark is not None
    if must_change:
        limits = _CHANGE_ONLY if limits is None else limits & _CHANGE_ONLY
    # What has less than its role has it less everywhere, wherever the permission is asked for.
    who = replace(account.principal, limits=limits)
    return Ticket(who, session.id, session.expires_at, limits, must_change)


def _same(ticket: Ticket, session: SessionRow | None) -> bool:
    """Whether the session stands and may do what it might when the ticket was made."""
    now = ticket_of(session)
    return now is not None and (now.principal, now.limits) == (ticket.principal, ticket.limits)


class Auth:
    """One a process; what it remembers of sessions is at most `check_s` old, and dropped at once by `revoked`."""

    def __init__(
        self,
        database: Database,
        *,
        tokens: Tokens,
        gate: Gate,
        hashing: Hashing,
        lifetimes: Mapping[Role, Lifetime],
        check_s: float,
        requests_per_min: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._tokens = tokens
        self.gate = gate
        self.hashing = hashing
        self._lifetimes = lifetimes
        self._clock = clock
        self._asked = Buckets(Rate(max(1, round(requests_per_min * 2)), requests_per_min * 60))
        self._sessions: Recent[SessionRow] = Recent(check_s, clock)

    # -- logging in -----------------------------------------------------------------------------------------------

    def admit(self, caller: Caller) -> None:
        """Raises ApiError 429 where one network asks for logins, tokens and renewals too fast."""
        now = self._clock()
        wait_s = self._asked.wait_s(caller.network, now)
        if wait_s > 0:
            seconds = int(wait_s) + 1
            raise ApiError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"请求过于频繁，请 {seconds} 秒后再试 · too many requests; try again in {seconds} s",
                headers={"Retry-After": str(seconds)},
            )
        self._asked.take(caller.network, now)

    async def login(
        self, username: str, password: str, caller: Caller, sort: Sort, limits: frozenset[Permission] | None = None
    ) -> Issued:
        """Raises ApiError 401 (alike for unknown, wrong and disabled) or 429 with Retry-After."""
        self.admit(caller)
        attempt = await self.gate.enter(username, caller.network)
        try:
            async with self._database.read(as_=SERVICE) as connection:
                account = await users.by_username(connection, username)
            stored = account.password_hash if account else self.hashing.nobody
            right, better = await self.hashing.matches(password, stored)
            if account is not None and right and not account.disabled and await self._in_time(account):
                async with self._database.write(as_=SERVICE) as connection:
                    if better is not None:
                        account = await self._rehash(connection, account, better)
                    await self.gate.right(connection, attempt)
                    return await self.open(connection, account, caller, sort, limits=limits)
        except BaseException as error:
            self.gate.interrupted(attempt, error)
            raise
        if account is not None and attempt.blocks is not None:
            async with self._database.write(as_=SERVICE) as connection:
                who = account.principal
                detail = {"until": attempt.blocks.isoformat()}
                await system.audit(connection, who, who.community_id, "account.locked", f"user:{who.id}", detail)
        raise unauthorised(
            "用户名或密码不对，或账号已停用、初始密码已过期；请联系社区值班重置 · "
            "wrong user name or password, or the account is disabled or its one-time password has run out; "
            "the community desk can reset it"
        )

    async def confirm(self, ticket: Ticket, password: str, caller: Caller) -> users.Account:
        """The account of whoever is logged in and has given their password again. Raises ApiError 403 or 429."""
        self.admit(caller)
        attempt = await self.gate.enter(ticket.principal.username, caller.network)
        try:
            async with self._database.read(as_=SERVICE) as connection:
                account = (await users.by_ids(connection, [ticket.principal.id])).get(ticket.principal.id)
            if account is None:
                raise ended()
            right, _ = await self.hashing.matches(password, account.password_hash)
            if right:
                async with self._database.write(as_=SERVICE) as connection:
                    await self.gate.right(connection, attempt)
                return account
        except BaseException as error:
            self.gate.interrupted(attempt, error)
            raise
        raise ApiError(HTTPStatus.FORBIDDEN, "当前密码不对 · the current password is wrong")

    async def _in_time(self, account: users.Account) -> bool:
        """Whether a one-time password, if it is one, still counts."""
        if account.password_until is None:
            return True
        async with self._database.read(as_=SERVICE) as connection:
            return bool(await connection.fetchval(store.Q["in_time"], account.password_until))

    async def _rehash(self, connection: Connection, account: users.Account, better: str) -> users.Account:
        """With the parameters of today. Sessions opened with the same password live on."""
        user_id, old = account.principal.id, account.password_hash
        if await connection.fetchval(store.Q["password_rehashed"], user_id, old, better) is None:
            return account
        await connection.execute(store.Q["session_remark"], user_id, password_mark(old), password_mark(better))
        return users.Account(account.principal, better, False, account.must_change, account.password_until)

    async def open(
        self,
        connection: Connection,
        account: users.Account,
        caller: Caller,
        sort: Sort,
        *,
        limits: frozenset[Permission] | None = None,
        lifetime: Lifetime | None = None,
        label: str = "",
        renewable: bool = True,
    ) -> Issued:
        """A new session, in the caller's transaction; audited last in it. Checks no password: that has been done."""
        who = account.principal
        session_id = new_session_id()
        chosen = lifetime or self._lifetimes[who.role]
        refresh = self._tokens.refresh(session_id) if renewable else None
        mark = password_mark(account.password_hash) if sort in ("browser", "token") else None
        opening = Opening(
            session_id, sort, caller.address, caller.network, caller.agent[:200], label, limits, mark, chosen.idle_s,
            chosen.most_s, digest(refresh) if refresh else None,
        )  # fmt: skip
        until = await store.insert_session(connection, who.id, opening)
        await connection.execute(store.Q["logged_in"], who.id)
        session = SessionRow(session_id, account, limits, mark, until, True, False, 0)
        ticket = ticket_of(session)
        if ticket is None:
            raise ended()
        await system.audit(connection, who, who.community_id, "session.open", f"session:{session_id}", {"sort": sort})
        token, expires_at = self._tokens.access(who.id, session_id, 1, until)
        return Issued(token, expires_at, refresh, ticket)

    # -- every request --------------------------------------------------------------------------------------------

    async def verify(self, token: str) -> Ticket:
        """The session behind a token, with its account as it is now (at most `check_s` old). Raises ApiError 401."""
        claims = self._tokens.read_access(token)
        if claims is None:
            raise ended()
        session = await self._sessions.get(claims.session_id, lambda: self._session(claims.session_id))
        ticket = ticket_of(session)
        if session is None or ticket is None or ticket.principal.id != claims.user_id:
            raise ended()
        if claims.generation > session.used or session.unheard:
            async with self._database.read(as_=SERVICE) as connection:
                await store.used(connection, session.id, claims.generation)
            self._sessions.drop(session.id)
        return ticket

    async def _session(self, session_id: str) -> SessionRow | None:
        async with self._database.read(as_=SERVICE) as connection:
            return (await store.sessions(connection, [session_id])).get(session_id)

    def revoked(self, told: str) -> None:
        """Word from the database (channel `session`: `session:{id}`, `user:{id}` and others): forgets what it names.

        Whoever holds streams asks `still_valid` again after it.
        """
        what, _, name = told.partition(":")
        if what == "session":
            self._sessions.drop(name)
            return
        self._sessions.drop_where(
            lambda session: what != "user" or session is None or session.account.principal.id == name
        )

    async def still_valid(self, tickets: Iterable[Ticket]) -> set[str]:
        """Of these sessions, the ids of those that still stand; read afresh, one query for all.

        Being watched is being used: a wall whose page does nothing but show keeps its login.
        """
        wanted, reading = list(tickets), self._sessions.begin()
        async with self._database.read(as_=SERVICE) as connection:
            found = await store.sessions(connection, sorted({ticket.token_id for ticket in wanted}))
            standing = {ticket.token_id for ticket in wanted if _same(ticket, found.get(ticket.token_id))}
            quiet = sorted(session_id for session_id in standing if found[session_id].unheard)
            if quiet:
                await store.heard(connection, quiet)
        self._sessions.keep({ticket.token_id: found.get(ticket.token_id) for ticket in wanted}, reading)
        return standing

    # -- renewal and the end --------------------------------------------------------------------------------------

    async def refresh(self, token: str, caller: Caller) -> Issued:
        """A new access token, and the next refresh token. Raises ApiError 401 or 429.

        A token that was used up before ends the session: one of the two who hold it has stolen it.
        """
        self.admit(caller)
        session_id = self._tokens.read_refresh(token)
        if session_id is None:
            raise ended()
        async with self._database.write(as_=SERVICE) as connection:
            found = await store.renewal(connection, session_id, GRACE_S)
            ticket = ticket_of(found.session) if found is not None else None
            issued = None
            if found is not None and ticket is not None:
                issued = await self._renew(connection, found, ticket, token)
        self._sessions.drop(session_id)
        if issued is None:
            raise ended()
        return issued

    async def _renew(self, connection: Connection, found: Renewal, ticket: Ticket, token: str) -> Issued | None:
        given, session = digest(token), found.session
        who = ticket.principal

        def access(generation: int, refresh: str | None) -> Issued:
            issued, expires_at = self._tokens.access(who.id, session.id, generation, session.expires_at)
            return Issued(issued, expires_at, refresh, ticket)

        if given == found.previous_hash and found.just_rotated:
            # Of the generation before: using it does not prove that the newer pair has arrived.
            return access(found.generation - 1, None)
        unread = given == found.previous_hash and session.used < found.generation
        if given == found.refresh_hash or unread:
            # `unread`: nobody has used anything of the pair that this token brought; its answer was lost on the way.
            refresh = self._tokens.refresh(session.id)
            generation = await store.rotate(connection, session.id, digest(refresh), given)
            return access(generation, refresh)
        await store.end(connection, session.id, who.id, "reuse")
        await system.audit(connection, who, who.community_id, "session.reuse", f"session:{session.id}", {})
        log.warning("refresh_token_reused", session=session.id)
        return None

    async def end(self, ticket: Ticket, why: str = "logout") -> None:
        """Ends this one session everywhere; streams opened with it are cut by the notification."""
        await self.end_one(ticket.principal, ticket.principal.id, ticket.token_id, why)

    async def end_one(self, by: Principal, user_id: str, session_id: str, why: str) -> bool:
        """Ends a session of this account; False where it has none such that stands."""
        async with self._database.write(as_=SERVICE) as connection:
            if await connection.fetchval(store.Q["session_of"], session_id, user_id) is None:
                return False
            await store.end(connection, session_id, by.id, why)
            detail = {"user": user_id, "why": why}
            await system.audit(connection, by, by.community_id, "session.end", f"session:{session_id}", detail)
        self._sessions.drop(session_id)
        return True

    def forget(self, session_ids: Iterable[str]) -> None:
        """Drops what is remembered of sessions that were ended in a transaction of the caller's."""
        for session_id in session_ids:
            self._sessions.drop(session_id)
