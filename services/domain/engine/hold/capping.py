"""Caps at work: counts what goes out, says what must wait, and raises one summary of it a community and window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from services.domain.engine.decisions import Clear, Decision, Raise, Repeat
from services.domain.engine.hold.caps import STEP_MS, WINDOW_MS, counted, recent, room_at
from services.domain.engine.hold.memory import CAPS, Memory
from services.domain.engine.hold.record import Held
from services.domain.engine.subjects import Roster
from services.domain.ids import AlertId, RuleId, alert_id
from services.domain.vocabulary import Label, Severity, Team

RULE = RuleId("platform.capped")
_TITLE = Label("告警过多，部分暂缓派单", "Too many alerts: some orders wait")

Push = Callable[[int, tuple[str, str]], None]


def community_key(community_id: str) -> str:
    return f"community:{community_id}"


class Capping:
    """State of a device: {"sent"}; of a community: {"sent", "since", "total", "told"} while a summary is open."""

    def __init__(self, roster: Roster, decisions: list[Decision], memory: Memory) -> None:
        self._roster = roster
        self._decisions = decisions
        self._memory = memory
        self._waiting: dict[str, set[AlertId]] = {}
        self._push: Push = lambda due_ms, key: None

    def attach(self, push: Push) -> None:
        """How to be called again at a time (`run`)."""
        self._push = push

    def room(self, draft: Raise, now_ms: int, dues: list[int]) -> list[str]:
        """Why it must wait; nothing where there is room, and then it is counted."""
        caps = self._roster.holding.caps_in(draft.community_id)
        community = community_key(draft.community_id)
        reasons: list[str] = []
        device_at = now_ms if draft.device_no is None else room_at(self._sent(draft.subject), caps.device, now_ms)
        if device_at > now_ms:
            reasons.append("cap:device")
            dues.append(device_at)
        community_at = room_at(self._sent(community), caps.community, now_ms, STEP_MS)
        if community_at > now_ms:
            reasons.append("cap:community")
            dues.append(community_at)
        if not reasons:
            if draft.device_no is not None:
                self._count(draft.subject, now_ms, 1)
            self._count(community, now_ms, STEP_MS)
        return reasons

    def _sent(self, key: str) -> list[list[int]]:
        state = self._memory.get(CAPS, key)
        return state["sent"] if state else []

    def _count(self, key: str, now_ms: int, step_ms: int) -> None:
        state = self._memory.get(CAPS, key) or {}
        self._memory.put(CAPS, key, {**state, "sent": counted(state.get("sent", []), now_ms, step_ms)})
        self._push(now_ms + WINDOW_MS + step_ms, (CAPS, key))

    def run(self, key: str, now_ms: int) -> None:
        """Lets go of what has left the window, and of a summary whose window is over and that nobody needs."""
        state = self._memory.get(CAPS, key)
        if state is None:
            return
        step_ms = STEP_MS if key.startswith("community:") else 1
        state = {**state, "sent": recent(state["sent"], now_ms, step_ms)}
        if "since" in state and not self._waiting.get(key) and now_ms >= state["since"] + WINDOW_MS:
            self._tell(key, state, now_ms)
            self._decisions.append(Clear(_id(key, state), Severity.MINOR, now_ms, _correlation(key, state), ()))
            state = {"sent": state["sent"]}
        self._memory.put(CAPS, key, state if state["sent"] or "since" in state else None)

    def changed(self, held: Held, now_ms: int) -> None:
        """Its reasons are others now."""
        key = community_key(held.draft.community_id)
        waiting = self._waiting.setdefault(key, set())
        if not held.capped:
            self.no_longer(held, now_ms)
        elif held.draft.id not in waiting:
            waiting.add(held.draft.id)
            self._suppressed(key, held.draft, now_ms)

    def again(self, held: Held) -> None:
        """It was waiting before a restart."""
        if held.capped:
            self._waiting.setdefault(community_key(held.draft.community_id), set()).add(held.draft.id)

    def restored(self, key: str) -> None:
        state = self._memory.get(CAPS, key)
        if state is not None:
            last = max([entry[0] for entry in state["sent"]] + [state.get("since", 0)])
            self._push(last + WINDOW_MS + STEP_MS, (CAPS, key))
            if "since" in state:
                self._push(state["since"] + WINDOW_MS, (CAPS, key))

    def no_longer(self, held: Held, now_ms: int) -> None:
        """It is cleared, released, or held for something else."""
        key = community_key(held.draft.community_id)
        waiting = self._waiting.get(key)
        if waiting and held.draft.id in waiting:
            waiting.discard(held.draft.id)
            state = self._memory.get(CAPS, key)
            if not waiting and state is not None and "since" in state:
                self._push(max(now_ms, state["since"] + WINDOW_MS), (CAPS, key))

    def _suppressed(self, key: str, draft: Raise, now_ms: int) -> None:
        state: dict[str, Any] = dict(self._memory.get(CAPS, key) or {"sent": []})
        if "since" not in state:
            state |= {"since": now_ms, "total": 1, "told": 1, "place": draft.community_id}
            self._decisions.append(_summary(key, state, now_ms))
            self._push(now_ms + WINDOW_MS, (CAPS, key))
        else:
            state["total"] += 1
            if state["total"] >= 2 * state["told"]:
                self._tell(key, state, now_ms)
                state["told"] = state["total"]
        self._memory.put(CAPS, key, state)

    def _tell(self, key: str, state: dict[str, Any], now_ms: int) -> None:
        if state["total"] > state["told"]:
            self._decisions.append(Repeat(_summary(key, state, now_ms), (RULE,)))


def _id(key: str, state: dict[str, Any]) -> AlertId:
    return alert_id(RULE, key, state["since"])


def _correlation(key: str, state: dict[str, Any]) -> str:
    return f"{key}@{state['since']}"


def _summary(key: str, state: dict[str, Any], now_ms: int) -> Raise:
    total = state["total"]
    return Raise(
        id=_id(key, state),
        community_id=key.partition(":")[2],
        rule_id=RULE,
        rule_version=1,
        family=RULE,
        subject=key,
        device_no=None,
        device_id=None,
        building_id=None,
        grid_id=None,
        kind="platform",
        severity=Severity.MINOR,
        team=Team.DESK,
        life_safety=False,
        opens_order=False,
        title=_TITLE,
        why=Label(
            f"一小时内告警过多，{total} 条暂缓派单，按严重程度依次放行",
            f"Too many alerts within an hour: {total} wait for an order and go out by severity",
        ),
        place="",
        x=None,
        y=None,
        onset_ms=state["since"],
        last_ms=now_ms,
        fired_ms=now_ms,
        trigger={"rule": RULE, "rule_version": 1, "ts_ms": now_ms, "suppressed": total},
        correlation=_correlation(key, state),
        cause=str(total),
    )
