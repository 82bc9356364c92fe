"""Alert rules as data: read from text, stored by version and community, put together for the engines."""

from services.adapters.rules.files import (
    KINDS,
    Finding,
    RuleFileError,
    Text,
    default_rulebook,
    load_defaults,
    read_file,
    read_plain,
    read_text,
)
from services.adapters.rules.store import Rules, Unreadable, effective, load_rulebook, load_rules, load_standing

__all__ = [
    "KINDS",
    "Finding",
    "RuleFileError",
    "Rules",
    "Text",
    "Unreadable",
    "default_rulebook",
    "effective",
    "load_defaults",
    "load_rulebook",
    "load_rules",
    "load_standing",
    "read_file",
    "read_plain",
    "read_text",
]
