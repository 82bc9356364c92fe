"""Classes of work orders (工单类别) as data: which order falls into which, and what each asks for."""

from services.domain.orders.classes.classes import ALWAYS, Case, ClassClock, Classes, Match, OrderClass, Pause

__all__ = ["ALWAYS", "Case", "ClassClock", "Classes", "Match", "OrderClass", "Pause"]
