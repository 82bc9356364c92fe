"""The catalogue of city events: what of the outbox is published, as what, and why the rest is not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from services.domain.city.payloads import (
    AlertPayload,
    CasePayload,
    CommandPayload,
    DevicePayload,
    KpiPayload,
    OpenDataPayload,
    OrderPayload,
    Payload,
    PlanPayload,
    PublicPayload,
    ReportPayload,
    TestPayload,
)
from services.domain.city.vocabulary import DataClass
from services.domain.orders.states import Move
from services.domain.vocabulary import Label

NAMESPACE = "cn.linhub"
Model: TypeAlias = type[Payload]


@dataclass(frozen=True, slots=True)
class CityEventType:
    """`type`: what the outbox calls it. `requires`: without these grants nothing of the event is sent.

    `renamed`: fields of the payload that the outbox calls otherwise; `stated`: what the type says where a row does not.
    A new `version` is a new published type.
    """

    type: str
    label: Label
    model: Model
    version: int = 1
    requires: frozenset[DataClass] = frozenset()
    renamed: tuple[tuple[str, str], ...] = ()
    stated: tuple[tuple[str, str], ...] = ()

    @property
    def family(self) -> str:
        return self.type.partition(".")[0]

    @property
    def name(self) -> str:
        """The `type` of its CloudEvents."""
        return f"{NAMESPACE}.{self.type}.v{self.version}"

    @property
    def schema_id(self) -> str:
        """The `dataschema` of its CloudEvents and the `$id` of its schema: one name wherever it is served."""
        return f"urn:linhub:schema:{self.name}"

    def read(self, data: Mapping[str, Any], community_id: str) -> Payload:
        """The whole payload, no grant asked. Raises ValidationError for a row that is not of this type."""
        said = {**dict(self.stated), **data, "community_id": community_id}
        for name, called in self.renamed:
            if called in data:
                said[name] = data[called]
        return self.model.model_validate(said)


def _alert(what: str, zh: str, en: str) -> CityEventType:
    return CityEventType(f"alert.{what}", Label(zh, en), AlertPayload, renamed=(("alert_id", "id"),))


def _order(move: Move, zh: str, en: str) -> CityEventType:
    return CityEventType(f"order.{move.value}", Label(zh, en), OrderPayload)


def _report(what: str, zh: str, en: str) -> CityEventType:
    return CityEventType(f"report.{what}", Label(zh, en), ReportPayload)


def _plan(what: str, zh: str, en: str) -> CityEventType:
    return CityEventType(f"plan.{what}", Label(zh, en), PlanPayload)


def _command(state: str, zh: str, en: str) -> CityEventType:
    return CityEventType(f"command.{state}", Label(zh, en), CommandPayload, stated=(("state", state),))


def _device(what: str, zh: str, en: str) -> CityEventType:
    return CityEventType(f"device.{what}", Label(zh, en), DevicePayload, requires=frozenset({DataClass.DEVICE}))


CATALOGUE: tuple[CityEventType, ...] = (
    _alert("raised", "告警发生", "An alert was raised"),
    _alert("repeated", "告警再次发生或变级", "It came again, or changed its severity"),
    _alert("recovering", "告警恢复中", "Its cause is gone, and it waits to be sure"),
    _alert("cleared", "告警解除", "It is over"),
    _alert("held", "告警被抑制", "What it sends is held back"),
    _alert("released", "告警放行", "What was held back is sent"),
    _alert("answered", "住户已答复", "Somebody at home answered"),
    _order(Move.CREATE, "工单创建", "An order was opened"),
    _order(Move.DISPATCH, "工单派发", "It was dispatched"),
    _order(Move.ACCEPT, "工单接单", "Somebody took it"),
    _order(Move.ARRIVE, "到场", "Somebody is there"),
    _order(Move.RESOLVE, "处置完成", "It is done, they say"),
    _order(Move.VERIFY, "核查通过", "It was verified"),
    _order(Move.CLOSE, "结案", "It was closed"),
    _order(Move.RETURN, "退单", "It was returned"),
    _order(Move.TRANSFER, "转派", "Another team has it"),
    _order(Move.PAUSE, "挂起", "It is paused"),
    _order(Move.RESUME, "恢复", "It goes on"),
    _order(Move.REOPEN, "返工", "It was opened again"),
    _order(Move.CANCEL, "取消", "It was cancelled"),
    _order(Move.FALSE_ALARM, "误报", "It was a false alarm"),
    _order(Move.MERGE, "并案", "It is worked on in another"),
    _order(Move.ESCALATE, "升级", "It climbed the ladder"),
    _order(Move.REPEAT, "再次触发", "Its alert came again"),
    _order(Move.ASSIGN, "指派", "Somebody was named"),
    _order(Move.WARN, "即将超时", "A clock is about to run out"),
    _order(Move.BREACH, "超时", "A clock has run out"),
    _order(Move.URGE, "督办", "It was urged"),
    _order(Move.EVIDENCE, "取证", "Evidence was added"),
    _order(Move.NOTE, "备注", "A note was added"),
    _order(Move.CALL_BACK, "回访", "Who reported it was asked"),
    _order(Move.RATE, "评价", "Who reported it rated it"),
    CityEventType("case.photo", Label("案件照片开放", "A photo was given to whoever opened the case"), CasePayload),
    _report("created", "居民上报", "Somebody reported something"),
    _report("joined", "上报并案", "A report joined an order"),
    _report("withdrawn", "上报撤回", "A report was withdrawn"),
    _report("urged", "上报人催办", "Who reported it asks for it"),
    _report("unsatisfied", "不满意", "Who reported it is not satisfied"),
    _plan("started", "预案启动", "A linkage plan was set off"),
    _plan("step", "预案步骤", "A step of it is another now"),
    _plan("ended", "预案结束", "Its run has ended"),
    _command("requested", "指令下发", "A device is to be told something"),
    _command("awaiting", "指令待批准", "A second person has to approve it"),
    _command("queued", "指令待发", "It may go, and is not at the broker yet"),
    _command("sent", "指令已发", "The broker has it"),
    _command("acknowledged", "设备已接收", "The device has it"),
    _command("executed", "设备称已执行", "The device says that it is done; its readings do not show it yet"),
    _command("confirmed", "读数证实", "What the device measures shows it"),
    _command("done", "设备已执行", "The device says that it is done, and nothing it measures could show it"),
    _command("failed", "设备执行失败", "The device says that it failed"),
    _command("expired", "指令过期", "Nobody approved or answered in time"),
    _command("unconfirmed", "未获证实", "The device said that it is done, and its readings did not show it in time"),
    _command("cancelled", "指令取消", "It was called back"),
    _command("refused", "指令被拒", "The second person said no, or whoever answers for it may not do so any more"),
    _device("online", "设备上线", "A device is back"),
    _device("offline", "设备离线", "A device is not heard any more"),
    CityEventType("kpi.day", Label("日指标", "Key figures of a day"), KpiPayload),
    CityEventType("public.changed", Label("公众数据变化", "Public data changed"), PublicPayload),
    CityEventType("public.opened", Label("公众数据开放或关闭", "Public data opened or shut"), OpenDataPayload),
)
"""In the order in which they are documented."""

INTERNAL: Mapping[str, str] = {
    "alert.ask": "a question to one household",
    "alert.consent": "somebody gave or withdrew a consent: that alone says something of their health",
    "command.emergency": "who sent it without a second person, by name; the command's own events say what it did",
    "command.reviewed": "as command.emergency",
    "command.review_overdue": "as command.emergency",
    "notice.requested": "who of the community is to be told, by name",
    "broadcast.requested": "words of a plan before anybody decided to say them; `plan.step` says that it was done",
    "roster.changed": "who works when",
    "roster.gap": "when nobody is on duty",
    "rule.changed": "how a community watches is its own",
    "plan.changed": "how a community answers is its own",
    "silence.created": "what nobody is to be told of for a while; `alert.held` says what it held back",
    "silence.ended": "as silence.created",
}
"""What stays inside, and why."""

TEST = CityEventType("subscription.test", Label("测试", "A test of the way"), TestPayload)
"""Sent on demand; no subscription can ask for it, none can refuse it."""

BY_TYPE: Mapping[str, CityEventType] = {one.type: one for one in CATALOGUE}
BY_NAME: Mapping[str, CityEventType] = {one.name: one for one in (*CATALOGUE, TEST)}
