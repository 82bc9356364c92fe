"""How a run goes on: pure, deterministic, and the same in the engine, after a restart and in a rehearsal.

A run is its steps' states. `advance` takes every step that is owed at `now_ms` and says what is to be done; what is
owed follows from the states alone, so whoever reads them from the database again comes to the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid5

from services.domain.devices import BY_NAME
from services.domain.plans import conditions
from services.domain.plans.facts import Facts, Near, Person, World, devices_within, people_of, variables
from services.domain.plans.plan import Broadcast, Command, Enough, Notice, Order, Plan, Reach, Step, Then, Wait
from services.domain.plans.words import not_shown
from services.domain.vocabulary import Label, Role, Severity, Team

_NAMESPACE = UUID("0f6e3f7a-3f0c-5d44-9a60-706c616e7321")
ENDED = frozenset({"done", "failed", "timed_out", "skipped", "cancelled"})
LOUDSPEAKER, SIREN = "loudspeaker", "siren"
_UNDER_WAY = frozenset({"queued", "sent", "acknowledged", "executed"})
_CARRIED_OUT = frozenset({"done", "confirmed"})
"""What a device says that it did and its readings could show counts once they do."""
LEAST_MS = 1000
"""A command lives at least so long: one that expires as it is born reaches nobody."""


def run_id(community_id: str, plan_id: str, version: int, alert_id: str) -> UUID:
    """Derived: whoever starts the plan for the alert again starts the same run."""
    return uuid5(_NAMESPACE, f"{community_id}|{plan_id}|{version}|{alert_id}")


def command_id(run: UUID, step: str, device_no: int, name: str) -> UUID:
    return uuid5(run, f"{step}|{device_no}|{name}")


@dataclass(frozen=True, slots=True)
class StepState:
    """`due_ms`: when it falls due. `expires_ms`: when it is over without a result. `result` is JSON for people."""

    state: str = "waiting"
    due_ms: int | None = None
    requested_ms: int | None = None
    expires_ms: int | None = None
    ended_ms: int | None = None
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """`steps` has every step of the plan, in its order."""

    id: UUID
    started_ms: int
    steps: Mapping[str, StepState]
    state: str = "running"
    why: str = ""

    @property
    def next_ms(self) -> int | None:
        """When something is owed at the latest; None: nothing before a command is answered, or at all."""
        if self.state != "running":
            return None
        times = [
            one.due_ms if one.state == "due" else one.expires_ms
            for one in self.steps.values()
            if one.state not in ENDED
        ]
        known = [ms for ms in times if ms is not None]
        return min(known) if known else None


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one command of a step."""

    device_id: str
    state: str
    detail: str = ""


Answers = Mapping[str, Sequence[Answer]]
"""Step → its commands; those still open are among them."""


@dataclass(frozen=True, slots=True)
class SendCommand:
    step: str
    id: UUID
    device: Near
    name: str
    params: Mapping[str, Any]
    dangerous: bool
    expires_ms: int


@dataclass(frozen=True, slots=True)
class SendNotice:
    step: str
    text: Label
    to: Notice
    people: tuple[Person, ...]
    escalation: bool = False
    """Nobody's step: the desk is told that one did not come off."""


@dataclass(frozen=True, slots=True)
class SendBroadcast:
    """Announced beside its commands, for whoever has other means of speaking to people there."""

    step: str
    text: Label
    within: Reach
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RaiseOrder:
    step: str
    team: Team
    severity: Severity
    text: Label | None


@dataclass(frozen=True, slots=True)
class TellOrder:
    """Whoever works on the order reads in it which devices have not been shown to do what they were told."""

    step: str
    text: Label


Doing = SendCommand | SendNotice | SendBroadcast | RaiseOrder | TellOrder


@dataclass(frozen=True, slots=True)
class Advanced:
    run: Run
    doings: tuple[Doing, ...]
    changed: tuple[str, ...]
    """Steps whose state is another now, in order."""


def begin(plan: Plan, run: UUID, now_ms: int) -> Run:
    """A run before its first step."""
    return Run(run, now_ms, {step.id: StepState() for step in plan.steps})


def start(plan: Plan, run: UUID, facts: Facts, world: World, now_ms: int) -> Advanced:
    """The run as it stands once everything that is owed at once has been taken."""
    begun = advance(plan, begin(plan, run, now_ms), facts, world, {}, now_ms)
    return replace(begun, changed=tuple(step.id for step in plan.steps))


def cancel(run: Run, why: str, now_ms: int) -> Run:
    """Nothing more is begun; what devices already have stays as it is."""
    steps = {
        name: one if one.state in ENDED else replace(one, state="cancelled", ended_ms=now_ms, expires_ms=None)
        for name, one in run.steps.items()
    }
    return replace(run, steps=steps, state="cancelled", why=why)


def advance(plan: Plan, run: Run, facts: Facts, world: World, answers: Answers, now_ms: int) -> Advanced:
    """Everything owed by now. A run that has ended stays as it is."""
    if run.state != "running":
        return Advanced(run, (), ())
    book = _Book(plan, run, facts, world, answers, now_ms)
    while book.round():
        pass
    steps = book.steps
    after = replace(run, steps=steps)
    if all(one.state in ENDED for one in steps.values()):
        bad = [name for name, one in steps.items() if one.state in ("failed", "timed_out")]
        after = replace(after, state="failed" if bad else "done", why=", ".join(bad))
    changed = tuple(name for name, one in steps.items() if one != run.steps[name])
    return Advanced(after, tuple(book.doings), changed)


class _Book:
    """One call of `advance`."""

    def __init__(self, plan: Plan, run: Run, facts: Facts, world: World, answers: Answers, now_ms: int) -> None:
        self.plan, self.run, self.facts, self.world, self.answers, self.now_ms = (
            plan,
            run,
            facts,
            world,
            answers,
            now_ms,
        )
        self.steps = dict(run.steps)
        self.doings: list[Doing] = []

    def round(self) -> bool:
        """Each step once; True where anything moved, so that those after it are looked at again."""
        moved = False
        for step in self.plan.steps:
            before = self.steps[step.id]
            if before.state in ENDED:
                continue
            after = self._step(step, before)
            if after != before:
                self.steps[step.id] = after
                moved = True
                if after.state in ("failed", "timed_out"):
                    self._mishap(step, after)
        return moved

    def _step(self, step: Step, one: StepState) -> StepState:
        if one.state == "waiting":
            before = [self.steps[name] for name in step.needs]
            if not all(other.state in ENDED for other in before):
                return one
            ended = [other.ended_ms for other in before if other.ended_ms is not None]
            since = max(ended, default=self.run.started_ms)
            return replace(one, state="due", due_ms=since + round(step.after_s * 1000))
        if one.state == "due":
            assert one.due_ms is not None  # noqa: S101
            return self._begin(step, one) if one.due_ms <= self.now_ms else one
        return self._look(step, one)

    def _begin(self, step: Step, one: StepState) -> StepState:
        assert one.due_ms is not None  # noqa: S101
        timeout_ms = max(LEAST_MS, round(step.timeout_s * 1000))
        if isinstance(step.action, Command | Broadcast) and self.now_ms > one.due_ms + timeout_ms:
            # Nobody stood by when it was due. What people meet a siren with now is no longer that alert.
            said = "应执行时系统未运行，已过时效 · nobody stood by when it was due, and now it is too late"
            return replace(one, state="timed_out", ended_ms=one.due_ms + timeout_ms, result={"why": said})
        held = conditions.holds(step.condition, variables(self.facts, self.world, self.now_ms))
        if held is None:
            return self._failed(one, f"条件无法判断 · the condition cannot be told: {step.condition}")
        if not held:
            return replace(
                one,
                state="skipped",
                ended_ms=self.now_ms,
                result={"why": f"条件不成立 · does not hold: {step.condition}"},
            )
        match step.action:
            case Command():
                targets = devices_within(
                    self.world, self.facts, step.action.kinds, step.action.within, step.action.tags
                )
                wanted = [(device, step.action.name, self._params(step.action.params)) for device in targets]
                return self._request(step, one, wanted, timeout_ms)
            case Broadcast():
                return self._broadcast(step, step.action, one, timeout_ms)
            case Order():
                text = self.facts.label(step.action.text) if step.action.text else None
                self.doings.append(RaiseOrder(step.id, step.action.team, step.action.severity, text))
                return self._done(one, {"team": step.action.team.value, "severity": step.action.severity.value})
            case Notice():
                people = tuple(people_of(self.world, self.facts, step.action))
                if not people:
                    return self._failed(one, "没有可通知的人 · nobody is known whom it could go to")
                self.doings.append(SendNotice(step.id, self.facts.label(step.action.text), step.action, people))
                return self._done(one, {"people": len(people)})
            case Wait():
                ends = one.due_ms + round(step.action.seconds * 1000)
                return replace(one, state="requested", requested_ms=one.due_ms, expires_ms=ends)

    def _broadcast(self, step: Step, action: Broadcast, one: StepState, timeout_ms: int) -> StepState:
        text = self.facts.label(action.text)
        within, wanted = action.within, self._speakers(action, action.within, text)
        if not wanted and action.widen:
            within, wanted = Reach.COMMUNITY, self._speakers(action, Reach.COMMUNITY, text)
        reached = tuple(sorted({device.id for device, _, _ in wanted}))
        self.doings.append(SendBroadcast(step.id, text, within, reached))
        return self._request(step, one, wanted, timeout_ms)

    def _speakers(self, action: Broadcast, within: Reach, text: Label) -> list[tuple[Near, str, dict[str, Any]]]:
        speak = {"text": f"{text.zh} {text.en}", "zone": within.value}
        found: list[tuple[Near, str, dict[str, Any]]] = [
            (one, "speak", {**speak}) for one in self._near(LOUDSPEAKER, within)
        ]
        if action.siren_s is not None:
            sound = {"seconds": round(action.siren_s)}
            found += [(one, "siren_on", {**sound}) for one in self._near(SIREN, within)]
        return found

    def _near(self, kind: str, within: Reach) -> list[Near]:
        return devices_within(self.world, self.facts, (kind,), within, frozenset())

    def _params(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self.facts.filled(one) if isinstance(one, str) else one for name, one in params.items()}

    def _request(
        self, step: Step, one: StepState, wanted: Sequence[tuple[Near, str, Mapping[str, Any]]], timeout_ms: int
    ) -> StepState:
        able = [
            (device, name, params)
            for device, name, params in wanted
            if device.reachable and name in {known.name for known in BY_NAME[device.kind].commands}
        ]
        mute = sorted({device.id for device, _, _ in wanted} - {device.id for device, _, _ in able})
        result: dict[str, Any] = {"devices": [device.id for device, _, _ in able]}
        if mute:
            result["unreachable"] = mute
        if not able:
            why = (
                "设备的协议不支持下行命令 · what they speak has no way down"
                if mute
                else "没有可用的设备 · no such device"
            )
            return self._failed(one, why, result)
        if mute and self._enough(step) is Enough.ALL:
            result["why"] = "部分设备不支持下行命令 · some of them cannot be told"
        expires_ms = self.now_ms + timeout_ms
        for device, name, params in able:
            dangerous = any(known.name == name and known.dangerous for known in BY_NAME[device.kind].commands)
            number = command_id(self.run.id, step.id, device.device_no, name)
            self.doings.append(SendCommand(step.id, number, device, name, params, dangerous, expires_ms))
        return replace(one, state="requested", requested_ms=self.now_ms, expires_ms=expires_ms, result=result)

    @staticmethod
    def _enough(step: Step) -> Enough:
        return step.action.enough if isinstance(step.action, Command) else Enough.ANY

    def _look(self, step: Step, one: StepState) -> StepState:
        """What has become of a step that is under way."""
        assert one.expires_ms is not None  # noqa: S101
        over = self.now_ms >= one.expires_ms
        if isinstance(step.action, Wait):
            return replace(one, state="done", ended_ms=one.expires_ms) if over else one
        told = self.answers.get(step.id, ())
        if not told and not over:
            # The run was read before its commands: they are there as soon as the transaction is.
            return one
        result = {**one.result, "answers": {f"{each.device_id}": each.state for each in told}}
        details = {each.device_id: each.detail for each in told if each.detail and each.state == "failed"}
        if details:
            result["details"] = details
        any_is_enough = self._enough(step) is Enough.ANY
        good = [each for each in told if each.state in _CARRIED_OUT]
        open_still = [each for each in told if each.state in _UNDER_WAY]
        if good and (any_is_enough or len(good) == len(told)):
            state = "failed" if one.result.get("unreachable") and not any_is_enough else "done"
            return replace(one, state=state, ended_ms=self.now_ms, result=result)
        if open_still and not over:
            return one
        if over and (open_still or any(each.state == "expired" for each in told) or not told):
            return replace(one, state="timed_out", ended_ms=one.expires_ms, result=result)
        return replace(one, state="failed", ended_ms=self.now_ms, result=result)

    def _mishap(self, step: Step, one: StepState) -> None:
        if isinstance(step.action, Command | Broadcast):
            self.doings.append(TellOrder(step.id, not_shown(self.plan, step, one.result)))
        then = step.on_timeout if one.state == "timed_out" else step.on_failure
        if then is Then.STOP:
            for name, other in self.steps.items():
                if other.state in ("waiting", "due"):
                    why = {"why": f"步骤 {step.id} 未成功 · step {step.id} did not come off"}
                    self.steps[name] = replace(other, state="skipped", ended_ms=self.now_ms, result=why)
        elif then is Then.ESCALATE:
            notice = Notice(Label("", ""), roles=(Role.DESK,), teams=(Team.DESK,))
            late = one.state == "timed_out"
            words = self.facts.label(
                Label(
                    f"预案“{self.plan.title.zh}”步骤 {step.id} {'超时' if late else '失败'}：{{place}}，请人工处置",
                    f"Plan “{self.plan.title.en}”: step {step.id} {'timed out' if late else 'failed'} at {{place}}; "
                    "see to it yourself",
                )
            )
            people = tuple(people_of(self.world, self.facts, notice))
            self.doings.append(SendNotice(step.id, words, notice, people, escalation=True))

    def _done(self, one: StepState, result: Mapping[str, Any]) -> StepState:
        return replace(one, state="done", requested_ms=self.now_ms, ended_ms=self.now_ms, result=result)

    def _failed(self, one: StepState, why: str, result: Mapping[str, Any] | None = None) -> StepState:
        return replace(one, state="failed", ended_ms=self.now_ms, result={**(result or {}), "why": why})
