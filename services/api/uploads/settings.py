"""What the API is told of evidence and of arrivals."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from services.adapters.evidence import open_store
from services.adapters.settings import ServiceSettings
from services.domain.evidence import Limits, Reach

MIB = 1024 * 1024


class EvidenceSettings(ServiceSettings):
    evidence_url: str = "file:///var/lib/linhub/evidence"
    """`file:///folder`, or `s3://bucket/prefix` with the usual AWS_* variables."""
    evidence_spool: Path | None = None
    """Where files lie while they come in; None: beside a folder store, else in the system's folder for such."""
    evidence_photo_bytes: int = Field(default=20 * MIB, ge=1024)
    evidence_clip_bytes: int = Field(default=100 * MIB, ge=1024)
    evidence_voice_bytes: int = Field(default=10 * MIB, ge=1024)
    evidence_pixels: int = Field(default=64_000_000, ge=10_000)
    evidence_edge: int = Field(default=4096, ge=320)
    evidence_clip_s: float = Field(default=120.0, gt=0)
    evidence_voice_s: float = Field(default=300.0, gt=0)
    evidence_per_min: int = Field(default=30, ge=1)
    """Uploads of one account a minute."""
    evidence_at_once: int = Field(default=8, ge=1)
    """Uploads that come in side by side; more wait a little, then are told to come back."""
    evidence_upload_s: float = Field(default=300.0, gt=0)
    """An upload that takes longer is cut."""
    evidence_reserve_bytes: int = Field(default=512 * MIB, ge=0)
    """So much of the disk is left to others: less free, and uploads are refused."""
    evidence_decode_bytes: int = Field(default=1024 * MIB, ge=256 * MIB)
    evidence_decode_s: float = Field(default=20.0, gt=0)
    """Memory and processor time for opening one file."""
    evidence_decoders: int = Field(default=2, ge=1)
    place_code_key: SecretStr | None = None
    """Signs the codes at places; None: SECRET_KEY does. Changing it voids all codes."""
    on_site_radius_m: float = Field(default=60.0, gt=0)
    on_site_accuracy_m: float = Field(default=100.0, gt=0)
    on_site_code_needs_position: bool = False

    @field_validator("evidence_url")
    @classmethod
    def _opens(cls, url: str) -> str:
        open_store(url)
        return url

    @property
    def evidence_limits(self) -> Limits:
        return Limits(
            photo_bytes=self.evidence_photo_bytes,
            clip_bytes=self.evidence_clip_bytes,
            voice_bytes=self.evidence_voice_bytes,
            pixels=self.evidence_pixels,
            edge=self.evidence_edge,
            clip_s=self.evidence_clip_s,
            voice_s=self.evidence_voice_s,
        )

    @property
    def on_site_reach(self) -> Reach:
        return Reach(self.on_site_radius_m, self.on_site_accuracy_m, self.on_site_code_needs_position)
