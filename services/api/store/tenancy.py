"""Whose rows a use of the database may touch: what the tenant policies are told, from the ticket of who asks."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from uuid import UUID

from services.domain.access import Principal, city_wide, own_household_only

_NO_HOME = "-"


@dataclass(frozen=True, slots=True)
class Scope:
    """A community, the communities of a street, or everything; none of them: no row at all.

    `household`: of homes, people, accounts and what they said only this one's; '-' for nobody's; None does not narrow.
    `report`: the community in which this report was made, looked up by the database.
    """

    community: str | None = None
    street: str | None = None
    everything: bool = False
    household: str | None = None
    account: str | None = None
    report: UUID | None = None

    def arguments(self) -> tuple[str | None, str | None, bool, str | None, str | None, UUID | None]:
        return self.community, self.street, self.everything, self.household, self.account, self.report


SERVICE = Scope(everything=True)
"""The API's own work, by the services' login: logins and sessions, the outbox, proofs, forgetting. Compared by
identity; every use of it stands for a reason why no scope can be known yet."""

NOBODY = Scope()
"""Only what belongs to no tenant."""


def scope_of(who: Principal) -> Scope:
    """Narrowest first: an account that names a community never sees more, whatever its role."""
    household = (who.household_id or _NO_HOME) if own_household_only(who.role) else None
    if who.community_id is not None:
        return Scope(community=who.community_id, household=household, account=who.id)
    if who.street_id is not None:
        return Scope(street=who.street_id, household=household, account=who.id)
    return Scope(everything=city_wide(who.role), household=household, account=who.id)


def public(community_id: str) -> Scope:
    """A community as anybody may see it: none of its homes, people and accounts of people at home."""
    return Scope(community=community_id, household=_NO_HOME)


current: ContextVar[Scope | None] = ContextVar("scope", default=None)
"""Of the request that is being answered; its own task's, so that no request can meet another's."""


def enter(who: Principal) -> None:
    current.set(scope_of(who))
