"""The community's key figures (指标): each with its formula, and facts of orders that can be counted by hand."""

from services.domain.kpis.facts import COUNTED, FACT_BY_NAME, FACTS, MEASURED, Fact, Much, Tally
from services.domain.kpis.figures import COCKPIT, FIGURE_BY_NAME, FIGURES, Figure, Kpi, kpi, kpis, present, share
from services.domain.kpis.span import DIMENSIONS, Days

__all__ = [
    "COCKPIT",
    "COUNTED",
    "DIMENSIONS",
    "FACTS",
    "FACT_BY_NAME",
    "FIGURES",
    "FIGURE_BY_NAME",
    "MEASURED",
    "Days",
    "Fact",
    "Figure",
    "Kpi",
    "Much",
    "Tally",
    "kpi",
    "kpis",
    "present",
    "share",
]
