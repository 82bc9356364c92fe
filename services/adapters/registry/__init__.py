"""The registry in the database: communities written whole, devices read into memory."""

from services.adapters.registry.store import (
    RegistryError,
    import_community,
    load_communities,
    load_devices,
)
from services.domain.registered import CommunityRow, DeviceRow

__all__ = [
    "CommunityRow",
    "DeviceRow",
    "RegistryError",
    "import_community",
    "load_communities",
    "load_devices",
]
