"""Evidence (证据) of orders: which files are taken, how much of each, and how somebody shows that they were there."""

from services.domain.evidence.on_site import (
    Box,
    Here,
    PlaceCode,
    Position,
    Reach,
    Site,
    Unproven,
    by_code,
    by_position,
    judge,
)
from services.domain.evidence.place_codes import Signer
from services.domain.evidence.plan import Datum, Ground, on_plan
from services.domain.evidence.sorts import (
    EvidenceSort,
    Format,
    Limits,
    Phase,
    Unfit,
    admit,
    references,
    sniff,
    words,
)

__all__ = [
    "Box",
    "Datum",
    "EvidenceSort",
    "Format",
    "Ground",
    "Here",
    "Limits",
    "Phase",
    "PlaceCode",
    "Position",
    "Reach",
    "Signer",
    "Site",
    "Unfit",
    "Unproven",
    "admit",
    "by_code",
    "by_position",
    "judge",
    "on_plan",
    "references",
    "sniff",
    "words",
]
