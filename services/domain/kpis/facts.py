"""What is true of an order, or how much of something it has: the words that the key figures are made of.

Each is a column of the SQL function `order_fact` (migration 0022), which is its only definition in the database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.domain.vocabulary import Label


@dataclass(frozen=True, slots=True)
class Fact:
    """`measured`: it has a size (seconds, stars, times) where it has it at all; else it is true or not."""

    name: str
    label: Label
    measured: bool = False


@dataclass(frozen=True, slots=True)
class Much:
    """A measured fact over many orders: how many have it, the sum, and what nine tenths of them stay within."""

    count: int
    total: float
    p90: float | None


@dataclass(frozen=True, slots=True)
class Tally:
    """Facts counted over a set of orders; what is not named is not there."""

    counts: Mapping[str, int] = field(default_factory=dict)
    much: Mapping[str, Much] = field(default_factory=dict)


def _is(name: str, zh: str, en: str) -> Fact:
    return Fact(name, Label(zh, en))


def _much(name: str, zh: str, en: str) -> Fact:
    return Fact(name, Label(zh, en), measured=True)


FACTS: tuple[Fact, ...] = (
    _is("received", "受理：期内建立的工单", "received: opened within the time asked for"),
    _is("filed", "立案：至少派单一次", "filed: dispatched at least once"),
    _is(
        "due",
        "应结案：已立案，未撤销、未并单、非误报，且已结案或处置时限已到",
        "due: filed, not cancelled, merged or a false alarm, and closed or its resolve deadline has come",
    ),
    _is("deferred", "缓办：应结案而未结案，因登记原因暂停中", "deferred: due and not closed, paused with a reason"),
    _is("due_not_deferred", "应结案 − 缓办", "due and not deferred"),
    _is("closed", "结案：应结案中已结案", "closed: of those due, closed"),
    _is(
        "closed_on_time",
        "按期结案：已结案，且处置完成不晚于处置时限",
        "closed on time: closed, and resolved by its resolve deadline",
    ),
    _is(
        "overdue",
        "超期未办：应结案，未处置完成，也非缓办",
        "overdue: due, not resolved, not deferred",
    ),
    _is(
        "accept_1min_judged",
        "已受理，或派单后已满 1 分钟（之前终结的除外）",
        "accepted, or a minute is over since the dispatch (unless it ended before)",
    ),
    _is("accepted_1min", "派单后 1 分钟内受理", "accepted within 1 min of the dispatch"),
    _is(
        "arrive_10min_judged",
        "已到场，或派单后已满 10 分钟（之前终结的除外）",
        "on site, or ten minutes are over since the dispatch (unless it ended before)",
    ),
    _is("arrived_10min", "派单后 10 分钟内到场", "on site within 10 min of the dispatch"),
    _is("accept_judged", "有受理时限，且已受理或时限已过", "has a deadline to accept, and accepted or past it"),
    _is("accept_kept", "在时限内受理", "accepted by its deadline"),
    _is("arrive_judged", "有到场时限，且已到场或时限已过", "has a deadline to arrive, and on site or past it"),
    _is("arrive_kept", "在时限内到场", "on site by its deadline"),
    _is("resolve_judged", "有处置时限，且已处置或时限已过", "has a deadline to resolve, and resolved or past it"),
    _is("resolve_kept", "在时限内处置完成", "resolved by its deadline"),
    _is("verify_judged", "有核查时限，且已核查或时限已过", "has a deadline to verify, and verified or past it"),
    _is("verify_kept", "在时限内核查", "verified by its deadline"),
    _is("resolved", "处置完成过至少一次", "resolved at least once"),
    _is("reworked", "返工：处置完成后又被打回", "opened again after it was resolved"),
    _is("returned", "退单：被队伍退回过", "returned by its team"),
    _is("alert_ended", "告警工单，已结案或判为误报", "orders from alerts, closed or ended as a false alarm"),
    _is("false_alarm", "告警工单，判为误报", "orders from alerts, ended as a false alarm"),
    _is("rated", "有评价", "rated"),
    _is("satisfied", "评价 4 分及以上", "rated 4 or 5"),
    _is("asked_for", "居民上报且已结案", "closed, reported by a resident"),
    _is("called_back", "居民上报、已结案且已回访", "closed, reported by a resident, and called back"),
    _is("reached", "回访接通", "reached when called back"),
    _is("content", "回访满意", "satisfied when called back"),
    _much("accept_s", "从派单到受理的秒数（按所属类别的日历，扣除暂停）", "seconds from dispatch to acceptance"),
    _much("arrive_s", "从派单到到场的秒数（同上）", "seconds from dispatch to arrival"),
    _much("resolve_s", "从派单到处置完成的秒数（同上）", "seconds from dispatch to resolution"),
    _much("verify_s", "从派单到核查的秒数（同上）", "seconds from dispatch to verification"),
    _much("rating", "评价分 1–5", "rating, 1 to 5"),
    _much("escalations", "升级次数（已立案的工单）", "steps up the ladder, of filed orders"),
    _much("urges", "督办次数", "times it was urged"),
)
FACT_BY_NAME: dict[str, Fact] = {fact.name: fact for fact in FACTS}
COUNTED: tuple[str, ...] = tuple(fact.name for fact in FACTS if not fact.measured)
MEASURED: tuple[str, ...] = tuple(fact.name for fact in FACTS if fact.measured)
