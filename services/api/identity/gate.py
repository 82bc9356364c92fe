"""The gate before every password: counts attempts before they are judged, in the database, for all processes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from zoneinfo import ZoneInfo

from services.api.identity.lockout import Policies, Tally, counted, name_key
from services.api.identity.store import Q
from services.api.store.database import AWAY, Connection, Database
from services.api.store.tenancy import SERVICE
from services.api.web.problems import ApiError

_ZONE = ZoneInfo("Asia/Shanghai")


@dataclass(frozen=True, slots=True)
class Attempt:
    username: str
    network: str
    blocks: datetime | None
    """Until when the pair waits, if this attempt fails too."""

    @property
    def name(self) -> str:
        return name_key(self.username)


def too_many(wait_s: float, until: datetime, contact: str) -> ApiError:
    seconds = int(wait_s) + 1
    zh, en = _about(seconds)
    at = f"{until.astimezone(_ZONE):%H:%M}"
    who_zh, who_en = (f"（{contact}）", f" ({contact})") if contact else ("", "")
    return ApiError(
        HTTPStatus.TOO_MANY_REQUESTS,
        f"尝试过多：请于 {at}（北京时间，约 {zh}）后再试，或请社区值班或管理员{who_zh}解除锁定 · "
        f"too many attempts: try again after {at} Beijing time (in {en}), or ask the community desk or an administrator"
        f"{who_en} to free the account",
        headers={"Retry-After": str(seconds)},
    )


def _about(seconds: int) -> tuple[str, str]:
    if seconds < 120:
        return f"{seconds} 秒", f"{seconds} s"
    return f"{-(-seconds // 60)} 分钟", f"{-(-seconds // 60)} minutes"


class Gate:
    """`enter` before the password is looked at, then `right`, or nothing: what is not said to be right was wrong.

    Counting first leaves no gap for a hundred guesses at once. An attempt that the database interrupted is given back.
    """

    def __init__(self, database: Database, policies: Policies, contact: str) -> None:
        self._database = database
        self._policies = policies
        self._contact = contact
        self._owed: dict[tuple[str, str], int] = {}

    async def enter(self, username: str, network: str) -> Attempt:
        """Raises ApiError 429 with Retry-After, and words that say when and whom to ask."""
        name = name_key(username)
        async with self._database.write(as_=SERVICE) as connection:
            await connection.execute(Q["failures_begin"], name, network)
            rows = await connection.fetch(Q["failures_locked"], name, network)
            now: datetime = rows[0]["now"]
            tallies = {
                (row["name"], row["network"]): Tally(row["failures"], row["last_at"], row["blocked_until"])
                for row in rows
            }
            given_back = self._owed.pop((name, network), 0)
            known = tallies[name, ""].failures < 0 or await self._known(connection, username, network)
            asked = [(name, network), ("", network)] + ([] if known else [(name, "")])
            until = max((end for key in asked if (end := tallies[key].blocked_until) and end > now), default=None)
            if until is not None and not given_back:
                raise too_many((until - now).total_seconds(), until, self._contact)
            policies = {(name, network): self._policies.pair, (name, ""): self._policies.name}
            blocks = None
            for key, tally in tallies.items():
                less = Tally(max(0.0, tally.failures - given_back), tally.last_at) if given_back else tally
                after = counted(less, now, policies.get(key, self._policies.network))
                await connection.execute(Q["failures_count"], *key, after.failures, after.blocked_until)
                if key == (name, network):
                    blocks = after.blocked_until
        return Attempt(username, network, blocks)

    async def _known(self, connection: Connection, username: str, network: str) -> bool:
        """Whether this account was logged in from there in the last 90 days."""
        return bool(await connection.fetchval(Q["network_known"], username, network))

    async def right(self, connection: Connection, attempt: Attempt) -> None:
        """In the transaction of what the password opens."""
        await connection.execute(Q["failures_uncount"], "", attempt.network, self._policies.network.free)
        await connection.execute(Q["failures_uncount"], attempt.name, "", self._policies.name.free)
        await connection.execute(Q["failures_clear"], attempt.name, attempt.network)

    def interrupted(self, attempt: Attempt, error: BaseException) -> None:
        """An attempt that was not judged for want of the database counts as none."""
        if isinstance(error, AWAY) and len(self._owed) < 10_000:
            key = (attempt.name, attempt.network)
            self._owed[key] = self._owed.get(key, 0) + 1

    async def free(self, connection: Connection, user_id: str) -> None:
        """Lets the owner in again from anywhere, with credit against whoever goes on guessing meanwhile."""
        await connection.execute(Q["failures_free"], user_id, self._policies.name.free)
