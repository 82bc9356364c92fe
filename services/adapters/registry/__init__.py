"""The registry in the database: communities written whole, devices read into memory."""

from services.adapters.registry.store import (
    CommunityRow,
    DeviceRow,
    RegistryError,
    import_community,
    load_communities,
    load_devices,
)

__all__ = [
    "CommunityRow",
    "DeviceRow",
    "RegistryError",
    "import_community",
    "load_communities",
    "load_devices",
]
