"""What reporters say of the work (评价, 回访): when they may, what it makes of the order, when it is done again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.domain.orders.clocks import running
from services.domain.orders.order import Order, Source
from services.domain.orders.states import OrderState
from services.domain.vocabulary import Label

RATED_STATES = frozenset({OrderState.RESOLVED, OrderState.VERIFIED, OrderState.CLOSED})
RATE_WITHIN = timedelta(days=30)
"""From the end of the work; afterwards nobody remembers."""
CHANGE_WITHIN = timedelta(days=7)
REWORK_WITHIN = timedelta(days=7)
BAD = 2
"""A rating up to this is a complaint, said or not."""
URGE_EVERY = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Said:
    """What one reporter has said so far. `reworked`: it has sent people back already."""

    rating: int | None = None
    rated_at: datetime | None = None
    reworked: bool = False


def refuses_rating(order: Order, said: Said, now: datetime) -> Label | None:
    """Why they may not rate it now; None: they may. Once the work was done again, what was said before is past."""
    done_at = order.resolved_at
    if order.state not in RATED_STATES or done_at is None:
        return Label("处理完成后才能评价", "It can be rated once it is done")
    if said.rated_at is not None and done_at <= said.rated_at:
        if now - said.rated_at > CHANGE_WITHIN:
            return Label("评价 7 天后不能再修改", "A rating can be changed for 7 days")
    elif now - max(done_at, order.closed_at or done_at) > RATE_WITHIN:
        return Label("处理完成 30 天后不再接受评价", "It can be rated for 30 days after it was done")
    return None


def unsatisfied(rating: int, satisfied: bool | None) -> bool:
    """What they say counts; where they say nothing, the rating does."""
    return rating <= BAD if satisfied is None else not satisfied


def reworks(order: Order, said: Said, now: datetime) -> bool:
    """Whether a complaint opens the order again by itself: once a report, for 7 days, and only what residents opened.

    What a sensor opened is the desk's to judge, and so is a second complaint about the same work.
    """
    done_at = order.resolved_at
    return (
        order.source is Source.RESIDENT
        and order.state in RATED_STATES
        and done_at is not None
        and now - done_at <= REWORK_WITHIN
        and not said.reworked
    )


def order_rating(ratings: Sequence[int]) -> int | None:
    """The rating of an order: the mean of what its reporters say now, a half counted down. Each has one voice."""
    if not ratings:
        return None
    twice = 2 * sum(ratings)
    return -(-(twice - len(ratings)) // (2 * len(ratings)))


def refuses_urge(order: Order, urged_at: datetime | None, now: datetime) -> Label | None:
    """Why a resident's hint to the desk is not taken now: nothing is late yet, or one was given today."""
    if urged_at is not None and now - urged_at < URGE_EVERY:
        return Label("每 24 小时可催办一次", "You can ask once in 24 hours")
    if not any(due <= now for _, due in running(order)):
        return Label("尚未超过处理时限，请稍候", "It is still within its time")
    return None
