"""Alert rules as data: read from text, stored by version and community, put together for the engines."""

from services.adapters.rules.files import KINDS, default_rulebook, load_defaults, read_file, read_plain, read_text

__all__ = ["KINDS", "default_rulebook", "load_defaults", "read_file", "read_plain", "read_text"]
