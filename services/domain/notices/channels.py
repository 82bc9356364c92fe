"""Channels people are reached on: which sorts there are, who may set them up, and how an address is shown."""

from __future__ import annotations

import re
from enum import StrEnum
from urllib.parse import urlsplit

from services.domain.vocabulary import Label, Role


class ChannelSort(StrEnum):
    DINGTALK = "dingtalk"
    WECOM = "wecom"
    FEISHU = "feishu"
    WEBHOOK = "webhook"
    SMTP = "smtp"
    """A mail server of one's own, by an apprise URL."""
    SMS = "sms"
    PHONE = "phone"
    MAIL = "mail"


GATEWAY = frozenset({ChannelSort.SMS, ChannelSort.PHONE, ChannelSort.MAIL})
"""The address is a number or a mail address; the community's gateway carries it."""
FIXED = frozenset({ChannelSort.DINGTALK, ChannelSort.WECOM, ChannelSort.FEISHU})
"""Go to the one host of their platform, whatever the address says."""
_SCHEMES: dict[str, ChannelSort] = {
    "dingtalk": ChannelSort.DINGTALK,
    "wecombot": ChannelSort.WECOM,
    "feishu": ChannelSort.FEISHU,
    "lark": ChannelSort.FEISHU,
    "json": ChannelSort.WEBHOOK,
    "jsons": ChannelSort.WEBHOOK,
    "mailto": ChannelSort.SMTP,
    "mailtos": ChannelSort.SMTP,
}
_PHONE = re.compile(r"^\+?[0-9]{5,20}$")
_MAIL = re.compile(r"^[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$")
_RESIDENTS = frozenset({Role.RESIDENT, Role.MERCHANT, Role.VISITOR})
_TRUSTED: dict[ChannelSort, frozenset[Role]] = {
    ChannelSort.WEBHOOK: frozenset({Role.ADMIN}),
    ChannelSort.SMTP: frozenset({Role.ADMIN, Role.DESK}),
}
"""Who may name a host of their own choice: a web hook speaks to anything that this machine reaches."""


def parse_address(sort: ChannelSort, address: str) -> Label | str:
    """The address as it is kept, or what is wrong with it."""
    text = address.strip()
    if len(text) > 1024 or any(ord(letter) < 32 for letter in text):
        return Label("地址过长或含有控制字符", "the address is too long or has control characters in it")
    if sort in (ChannelSort.SMS, ChannelSort.PHONE):
        digits = re.sub(r"[\s()-]", "", text)
        return digits if _PHONE.match(digits) else Label("不是电话号码", "that is no phone number")
    if sort is ChannelSort.MAIL:
        return text if _MAIL.match(text) else Label("不是邮箱地址", "that is no mail address")
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError:
        return Label("不是有效的地址", "that is no valid address")
    if _SCHEMES.get(parts.scheme.lower()) is not sort or not host:
        known = ", ".join(f"{scheme}://" for scheme, one in _SCHEMES.items() if one is sort)
        return Label(f"该渠道的地址应以 {known} 开头", f"an address of this sort begins with {known}")
    return text


def may_add(role: Role, sort: ChannelSort) -> bool:
    """Residents are reached through the community's gateways alone; a mail server of one's own choice needs the
    desk, a web hook an administrator."""
    if sort in GATEWAY:
        return True
    if role in _RESIDENTS:
        return False
    return sort in FIXED or role in _TRUSTED.get(sort, frozenset())


def failure(error: str | None) -> str | None:
    """Which sort of failure it was, without a word of what the other end said."""
    if error is None:
        return None
    words = error.lower()
    if "no answer" in words or "timed out" in words or "timeout" in words:
        return "no answer"
    return "busy" if "busy" in words or "too many" in words else "refused"


def mask(sort: ChannelSort, address: str) -> str:
    """What may be shown of it: enough to tell one's own channels apart, and nothing to send by."""
    if sort in (ChannelSort.SMS, ChannelSort.PHONE):
        return f"{address[:3]}****{address[-2:]}" if len(address) >= 9 else f"****{address[-2:]}"
    if sort is ChannelSort.MAIL:
        name, _, host = address.partition("@")
        return f"{name[:1]}***@{host}"
    scheme, _, _ = address.partition("://")
    host = urlsplit(address).hostname or ""
    # In most of them the host is the secret itself: a token.
    return f"{scheme}://{host}/***" if sort in (ChannelSort.WEBHOOK, ChannelSort.SMTP) else f"{scheme}://***"
