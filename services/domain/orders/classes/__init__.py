"""Classes of work orders (工单类别) as data: which order falls into which, and what each asks for."""

from services.domain.orders.classes.classes import Case, Classes, ClassClock, Match, OrderClass, Pause

__all__ = ["Case", "ClassClock", "Classes", "Match", "OrderClass", "Pause"]
