"""The cockpit's picture of a community: kept current by what the outbox names, written once for all alike."""

from services.api.live.pictures.board import KpiBoard
from services.api.live.pictures.gallery import Gallery
from services.api.live.pictures.picture import Picture

__all__ = ["Gallery", "KpiBoard", "Picture"]
