"""What every kind shares: a short way to write a rule, and the rules that hold for any device.

Limits include the number itself (see `Compare`), so a table's "> 10°" is one tick stricter here.
"""

from __future__ import annotations

from services.domain.ids import RuleId
from services.domain.rules.parameters import (
    ClockParameters,
    Compare,
    EventParameters,
    FloodParameters,
    OfflineParameters,
    Parameters,
    ThresholdParameters,
)
from services.domain.rules.rule import Mode, Rule
from services.domain.vocabulary import Label, Severity, Team

LOW_PERCENT = 20.0
LOW_VOLTS = 3.2
"""A lithium thionyl chloride cell (3.6 V) stays level almost to its end; at 3.2 V under load it is nearly empty."""


def rule(
    rule_id: str,
    zh: str,
    en: str,
    severity: Severity,
    team: Team,
    parameters: Parameters,
    *,
    life_safety: bool = False,
    opens_order: bool = True,
    family: str | None = None,
    person_tag: str | None = None,
    device_tag: str | None = None,
    mode: Mode = Mode.LIVE,
    note: str = "",
) -> Rule:
    return Rule(
        id=RuleId(rule_id),
        title=Label(zh, en),
        severity=severity,
        team=team,
        parameters=parameters,
        life_safety=life_safety,
        opens_order=opens_order,
        family=family,
        person_tag=person_tag,
        device_tag=device_tag,
        mode=mode,
        note=note,
    )


def standing(kind: str, *, silence_is_dangerous: bool = False) -> tuple[Rule, ...]:
    """Offline, clock off and flooding. Where silence is dangerous (a detector, an elder's button) both are major.

    A wrong clock is set from afar, so it opens no order; except there, because messages stamped more than five
    minutes ahead are refused and such a device could not call for help.
    """
    severity = Severity.MAJOR if silence_is_dangerous else Severity.MINOR
    return (
        rule(f"{kind}.offline", "设备离线", "Device offline", severity, Team.MAINTENANCE, OfflineParameters(missed=3)),
        rule(
            f"{kind}.clock",
            "设备时钟偏差",
            "Device clock off",
            severity,
            Team.MAINTENANCE,
            ClockParameters(limit_s=300),
            opens_order=silence_is_dangerous,
        ),
        rule(f"{kind}.flood", "设备发送过于频繁", "Device floods", Severity.MINOR, Team.MAINTENANCE, FloodParameters()),
    )


def low_battery(kind: str, *, limit: float = LOW_PERCENT, over: float = LOW_PERCENT + 10) -> Rule:
    """The battery metric at or under `limit` for an hour (one dip while sending is not an empty cell)."""
    return rule(
        f"{kind}.low_battery",
        "电池电量低",
        "Low battery",
        Severity.MINOR,
        Team.MAINTENANCE,
        ThresholdParameters("battery", Compare.AT_MOST, limit, for_s=3600, clear_limit=over),
        family=f"{kind}.battery",
    )


def low_volts(kind: str) -> Rule:
    return low_battery(kind, limit=LOW_VOLTS, over=LOW_VOLTS + 0.1)


def device_fault(kind: str, *, severity: Severity = Severity.MINOR) -> Rule:
    """The device says that it is broken; it repeats daily at most, so the alert stands for a day."""
    return rule(
        f"{kind}.fault",
        "设备故障",
        "Device fault",
        severity,
        Team.MAINTENANCE,
        EventParameters("fault", clear_after_s=86400),
    )


def tampered(kind: str, *, severity: Severity = Severity.MINOR) -> Rule:
    return rule(
        f"{kind}.tamper",
        "设备被拆动",
        "Device tampered with",
        severity,
        Team.MAINTENANCE,
        EventParameters("tamper", clear_after_s=3600),
    )
