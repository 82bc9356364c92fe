"""Which moves of an order a reader may make, and what each still needs."""

from __future__ import annotations

from datetime import datetime

from services.domain.access import Permission, Principal, ReaderClass, allowed
from services.domain.ids import CommunityId
from services.domain.orders import Actor, Move, Need, Order, needs_of
from services.domain.vocabulary import Role


def actor_of(who: Principal) -> Actor:
    bound = CommunityId(who.community_id) if who.community_id else None
    return Actor(who.id, who.role, who.team, bound, who.grid_id, leads=who.leads)


def actor_of_class(reader: ReaderClass, community_id: str) -> Actor:
    """Nobody in particular of a class. What only a person's own history forbids is refused when they ask."""
    bound = None if reader.role in (Role.ADMIN, Role.STREET) else CommunityId(community_id)
    return Actor("", reader.role, reader.team, bound, reader.grid_id)


def moves_of(order: Order, actor: Actor, now: datetime | None = None) -> dict[Move, tuple[Need, ...]]:
    """Move → what it still needs, in the order of the table."""
    if actor.role is None or not allowed(actor.role, Permission.ORDER_MOVES):
        return {}
    return needs_of(order, actor, now)
