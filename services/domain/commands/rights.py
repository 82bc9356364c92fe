"""Who may ask for a command, approve it, call it back and review it: by role, reach and danger; never oneself."""

from __future__ import annotations

from dataclasses import dataclass

from services.domain.access import Permission, Principal, reaches_community, reaches_grid
from services.domain.commands.states import CommandState
from services.domain.devices.kind import CommandType
from services.domain.vocabulary import Label, Role

ASK_DANGEROUS = frozenset({Role.DESK, Role.ADMIN})
"""Whoever else may ask (网格员 in their own 网格) asks for what harms nobody."""
WORN = "wristband"
"""What somebody wears: whoever finds out where they are by it must be allowed to know how they are."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a device is, for whoever wants to tell it something."""

    community_id: str
    street_id: str
    grid_id: str | None = None
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A command as far as rights go by it."""

    requested_by: str
    dangerous: bool
    state: CommandState
    emergency: bool = False
    reviewed: bool = False


def may_ask(who: Principal, command: CommandType, place: Place) -> Label | None:
    """None: yes. Else why not."""
    if not who.may(Permission.COMMAND_ASK) or not reaches_community(who, place.community_id, place.street_id):
        return Label("您不能向该设备下发指令", "You may not tell this device anything")
    if command.dangerous and who.role not in ASK_DANGEROUS:
        return Label(
            "危险指令只能由社区值班或管理员提出", "Only the community desk or an administrator may ask for this"
        )
    if not reaches_grid(who, place.grid_id):
        return Label("设备不在您的网格内", "The device is in another 网格 than yours")
    if place.kind == WORN and not who.may(Permission.HEALTH):
        return Label(
            "该设备由居民佩戴，您无健康数据权限", "Somebody wears this device, and you may not see health data"
        )
    return None


def may_break_glass(who: Principal, command: CommandType, place: Place) -> Label | None:
    """Whether it may go out at once, without a second person (紧急越权). None: yes."""
    if not command.calls:
        return Label(
            "紧急越权只用于警报器和应急广播，其他危险指令须第二人批准",
            "Only sirens and loudspeakers may go out before somebody approves; ask a second person for this",
        )
    if who.limits is not None:
        return Label("程序和屏幕不能紧急越权", "Only a person may do that, no program and no screen")
    return may_ask(who, command, place)


def may_approve(who: Principal, command: Wanted, place: Place) -> Label | None:
    """Also to reject. None: yes."""
    if who.id == command.requested_by:
        return Label("不能批准自己提出的指令", "Nobody approves what they asked for themselves")
    return _second(who, place)


def may_review(who: Principal, command: Wanted, place: Place) -> Label | None:
    if not command.emergency:
        return Label("该指令不是紧急越权，无须复核", "This was no emergency command; there is nothing to review")
    if command.reviewed:
        return Label("已经复核", "It has been reviewed already")
    if who.id == command.requested_by:
        return Label("不能复核自己的紧急越权", "Nobody reviews what they did themselves")
    return _second(who, place)


def may_cancel(who: Principal, command: Wanted, place: Place) -> Label | None:
    """Whoever asked, and whoever could have approved."""
    if command.state not in (CommandState.AWAITING, CommandState.QUEUED):
        return Label(
            "指令已下发或已结束，无法撤回；可另下相反的指令",
            "It has left or is over and cannot be called back; ask for the opposite instead",
        )
    if who.id == command.requested_by and reaches_community(who, place.community_id, place.street_id):
        return None
    return _second(who, place)


def still_stands(asker: Principal | None, approver: Principal | None, command: CommandType, wanted: Wanted,
                 place: Place) -> Label | None:  # fmt: skip
    """Asked again in the moment of sending, of the accounts as they are then; None of either: gone or disabled."""
    if asker is None:
        return Label("提出人账号已停用", "The account of whoever asked for it is disabled")
    why = may_ask(asker, command, place)
    if why is not None:
        return Label(f"提出人已无权限：{why.zh}", f"Whoever asked may not any more: {why.en}")
    if not command.dangerous or wanted.emergency:
        return None
    if approver is None:
        return Label("批准人账号已停用", "The account of whoever approved it is disabled")
    why = may_approve(approver, wanted, place)
    if why is not None:
        return Label(f"批准人已无权限：{why.zh}", f"Whoever approved may not any more: {why.en}")
    return None


def _second(who: Principal, place: Place) -> Label | None:
    if who.limits is not None:
        return Label(
            "只有本人登录才能批准或复核", "Only a person who is logged in may do that, no program and no screen"
        )
    if not who.may(Permission.COMMAND_APPROVE) or not reaches_community(who, place.community_id, place.street_id):
        return Label("您不能批准该指令", "You may not approve this command")
    return None
