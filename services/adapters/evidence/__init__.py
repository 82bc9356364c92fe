"""Evidence outside the domain: decoding in a process apart, a content-addressed store, its rows, and their upkeep."""

from services.adapters.evidence.errors import Damaged, Missing, NoRoom, StoreAway
from services.adapters.evidence.media import Bounds, Decoded, Decoder
from services.adapters.evidence.store import Objects, Store, Stored, open_store

__all__ = [
    "Bounds",
    "Damaged",
    "Decoded",
    "Decoder",
    "Missing",
    "NoRoom",
    "Objects",
    "Store",
    "StoreAway",
    "Stored",
    "open_store",
]
