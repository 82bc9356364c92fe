"""Notices (通知): who is told of what, in which words, when, and what happens when it does not arrive."""

from __future__ import annotations

from services.domain.notices.audience import Account, AlertFacts, Draft, Event, Follower, OrderFacts, audience
from services.domain.notices.channels import ChannelSort, mask, may_add, parse_address
from services.domain.notices.of_commands import said_of
from services.domain.notices.telephone import Telephone, parse_telephone
from services.domain.notices.templates import TEMPLATES, Template, render, templates_ended_by
from services.domain.notices.timing import (
    RETRIES,
    Bundles,
    ack_wait_s,
    bundles,
    quiet_until,
    retry_after_s,
    turn_wait_s,
)

__all__ = [
    "RETRIES",
    "TEMPLATES",
    "Account",
    "AlertFacts",
    "Bundles",
    "ChannelSort",
    "Draft",
    "Event",
    "Follower",
    "OrderFacts",
    "Telephone",
    "Template",
    "ack_wait_s",
    "audience",
    "bundles",
    "mask",
    "may_add",
    "parse_address",
    "parse_telephone",
    "quiet_until",
    "render",
    "retry_after_s",
    "said_of",
    "templates_ended_by",
    "turn_wait_s",
]
