"""Why an order may be paused (暂停): the reasons a class may allow, each by its name."""

from __future__ import annotations

from services.domain.vocabulary import Label

REASONS: dict[str, Label] = {
    "waiting_parts": Label("等配件", "waiting for parts"),
    "waiting_resident": Label("等住户", "waiting for the resident"),
    "weather": Label("天气", "weather"),
    "third_party": Label("等第三方", "waiting for a third party"),
    "approval": Label("等审批", "waiting for approval"),
}


def named(names: tuple[str, ...]) -> Label:
    """The reasons in words, in one line; a name that is not known stands as it is."""
    known = [REASONS.get(name, Label(name, name)) for name in names]
    return Label("、".join(one.zh for one in known), ", ".join(one.en for one in known))
