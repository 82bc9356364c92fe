"""The page on the key figures, written from their definitions: `python -m services.domain.kpis.page > docs/kpis.md`."""

from __future__ import annotations

import sys

from services.domain.kpis.facts import FACT_BY_NAME, FACTS
from services.domain.kpis.figures import FIGURES, Figure
from services.domain.kpis.span import DIMENSIONS

_HEAD = """# Key figures 关键指标

Written from `services/domain/kpis` by `python -m services.domain.kpis.page > docs/kpis.md`; a test compares them.

Every figure is made of *facts of orders*. A fact is true of an order or not, or has a size. All of them are columns of
one SQL function, `order_fact` (migration 0022): the total, the groups and the orders behind a number are read from it,
so they cannot differ. Figures are of orders **opened** on the local days asked for, as they stand at the time asked.
`—` (`null`) means that there is nothing to divide by.

| ask | answer |
|---|---|
| `GET /api/v1/communities/{id}/kpis?from=2026-10-01&to=2026-10-31&by=team` | the figures, as a whole and by group |
| the same with `Accept: text/csv` | a table |
| `GET /api/v1/communities/{id}/kpis/{name}/rows?part=numerator` | the orders above (or below) the line |
| `GET /api/v1/kpis?street={id}` | communities side by side |
| `GET /api/v1/communities/{id}/monthly-reports?month=2026-10&format=pdf` | the monthly report, also `xlsx` |
| `linhub report month 2026-10 --community {id} --pdf out.pdf --xlsx out.xlsx` | the same from the command line |

Days are those of the community's time zone, both included. Each of the groupings below is a filter too; an empty value
means orders that have none. Figures of single persons are shown to the desk, the street office and administrators;
everybody else sees their own. Rules about somebody's health count together as `health` for whoever may not see health
data.
"""


def page() -> str:
    parts = [_HEAD, "## Figures\n"]
    parts += ["| name | 指标 | figure | 计算方法 | formula | above | below |", "|---|---|---|---|---|---|---|"]
    parts += [_figure(figure) for figure in FIGURES]
    parts += ["", "## Facts\n", "| name | 含义 | meaning | |", "|---|---|---|---|"]
    parts += [
        f"| `{fact.name}` | {fact.label.zh} | {fact.label.en} | {'size' if fact.measured else 'yes or no'} |"
        for fact in FACTS
    ]
    parts += ["", "## Groups and filters\n", "| name | 分组 | group |", "|---|---|---|"]
    parts += [f"| `{name}` | {label.zh} | {label.en} |" for name, label in DIMENSIONS.items()]
    return "\n".join(parts) + "\n"


def _figure(figure: Figure) -> str:
    over = FACT_BY_NAME[figure.over].name
    words = {
        "count": (f"`{over}`", ""),
        "share": (f"`{over}`", f"`{figure.under}`"),
        "mean": (f"sum of `{over}`", f"orders with `{over}`"),
        "p90": (f"`{over}`, 90th percentile", f"orders with `{over}`"),
        "per": (f"sum of `{over}`", f"`{figure.under}`"),
    }
    above, below = words[figure.sort]
    label, formula = figure.label, figure.formula
    return f"| `{figure.name}` | {label.zh} | {label.en} | {formula.zh} | {formula.en} | {above} | {below} |"


if __name__ == "__main__":
    sys.stdout.write(page())
