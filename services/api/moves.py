"""Which moves of an order a reader may make."""

from __future__ import annotations

from services.domain.access import Permission, Principal, ReaderClass, allowed
from services.domain.ids import CommunityId
from services.domain.orders import Actor, Move, Order, allowed_moves
from services.domain.vocabulary import Role


def actor_of(who: Principal) -> Actor:
    return Actor(who.id, who.role, who.team, CommunityId(who.community_id) if who.community_id else None, who.grid_id)


def actor_of_class(reader: ReaderClass, community_id: str) -> Actor:
    """Nobody in particular of a class. What only a person's own history forbids is refused when they ask."""
    bound = None if reader.role in (Role.ADMIN, Role.STREET) else CommunityId(community_id)
    return Actor("", reader.role, reader.team, bound, reader.grid_id)


def moves_of(order: Order, actor: Actor) -> tuple[Move, ...]:
    if actor.role is None or not allowed(actor.role, Permission.ORDER_MOVES):
        return ()
    return allowed_moves(order, actor)
