"""Residents' reports in the database: how they become orders, how they go on, and who hears of it."""

from services.adapters.reports.files import load_categories
from services.adapters.reports.opening import KeyReused, NewReport, Opened, open_report
from services.adapters.reports.rows import Reporter, ReportNotFound, erase_contacts, fetch_report, reporters_of
from services.adapters.reports.saying import NotNow

__all__ = [
    "KeyReused",
    "NewReport",
    "NotNow",
    "Opened",
    "ReportNotFound",
    "Reporter",
    "erase_contacts",
    "fetch_report",
    "load_categories",
    "open_report",
    "reporters_of",
]
