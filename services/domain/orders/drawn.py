"""The table of moves as a document: `python -m services.domain.orders.drawn` writes it into docs/orders.md."""

from __future__ import annotations

import sys
from pathlib import Path

from services.domain.orders.moves import TABLE, Legal
from services.domain.orders.needs import NEED_LABELS, Need
from services.domain.orders.people import WHO_LABELS, Who
from services.domain.orders.states import ENDED, MOVE_LABELS, STATE_LABELS, Move, OrderState

BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
DOCUMENT = Path(__file__).parents[3] / "docs" / "orders.md"


def table() -> str:
    """Markdown: every row of the table, then what the names mean."""
    lines = ["| move | from | to | who | needs |", "|---|---|---|---|---|"]
    lines += [_row(row) for row in TABLE]
    lines += ["", "| who | |", "|---|---|"]
    lines += [f"| `{who.value}` | {WHO_LABELS[who].en} · {WHO_LABELS[who].zh} |" for who in Who]
    lines += ["", "| need | what is said when it is missing |", "|---|---|"]
    lines += [f"| `{need.value}` | {NEED_LABELS[need].en} · {NEED_LABELS[need].zh} |" for need in Need]
    return "\n".join(lines)


def _row(row: Legal) -> str:
    to = "as before" if row.move is Move.RESUME else f"`{row.to.value}`" if row.to is not None else "stays"
    who = ", ".join(f"`{one.value}`" for one in Who if one in row.who)
    needs = ", ".join(f"`{need.value}`" for need in Need if need in row.needs)
    return f"| `{row.move.value}` {MOVE_LABELS[row.move].zh} | {_from(row.sources)} | {to} | {who} | {needs} |"


def _from(sources: frozenset[OrderState]) -> str:
    if sources == frozenset(OrderState) - ENDED:
        return "any open state"
    return ", ".join(f"`{state.value}` {STATE_LABELS[state].zh}" for state in OrderState if state in sources)


def drawn_into(text: str) -> str:
    """The document with the table in its place. Raises ValueError where the marks are missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no {BEGIN} … {END} in the document")
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    DOCUMENT.write_text(drawn_into(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{DOCUMENT}: {len(TABLE)} rows\n")
