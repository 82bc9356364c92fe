"""Stored history as the engine takes it in: in the order in which the server received it, a piece at a time."""

from services.adapters.history.backtest import Backtest, Backtested, Plan, backtest
from services.adapters.history.stream import Source, Way

__all__ = ["Backtest", "Backtested", "Plan", "Source", "Way", "backtest"]
