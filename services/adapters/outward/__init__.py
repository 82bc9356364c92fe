"""The one door to places that somebody else named: which addresses, how long, how much."""

from services.adapters.outward.addresses import Allowed
from services.adapters.outward.client import Answer, Failed, Limits, OutwardClient
from services.adapters.outward.look_up import Refused, Resolve, look_up, system_resolve
from services.adapters.outward.target import Target, read

__all__ = [
    "Allowed",
    "Answer",
    "Failed",
    "Limits",
    "OutwardClient",
    "Refused",
    "Resolve",
    "Target",
    "look_up",
    "read",
    "system_resolve",
]
