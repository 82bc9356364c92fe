"""What residents report (随手拍, 报事报修): categories, duplicates, how it goes, and what they say of it."""

from services.domain.reports.categories import Category, CategorySort, Filing, Photo, Within, read_categories
from services.domain.reports.duplicates import Spot, Standing, find, same
from services.domain.reports.words import Line, Step, progress, said, stage, step_of

__all__ = [
    "Category",
    "CategorySort",
    "Filing",
    "Line",
    "Photo",
    "Spot",
    "Standing",
    "Step",
    "Within",
    "find",
    "progress",
    "read_categories",
    "said",
    "same",
    "stage",
    "step_of",
]
