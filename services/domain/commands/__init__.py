"""Commands to devices: states and moves as a table, the fold of a history, who may ask and approve, what proves one."""

from services.domain.commands.command import BrokenHistory, Command, Entry, apply, fold
from services.domain.commands.states import ENDED, OPEN, PAIRS, STATE_LABELS, TABLE, CommandMove, CommandState

__all__ = [
    "ENDED", "OPEN", "PAIRS", "STATE_LABELS", "TABLE",
    "BrokenHistory", "Command", "CommandMove", "CommandState", "Entry", "apply", "fold",
]  # fmt: skip
