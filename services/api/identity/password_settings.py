"""What a hash of a password costs: the same for whoever makes one, the API or a seed."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class PasswordSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="LINHUB_", frozen=True, extra="ignore")

    password_memory_kib: int = Field(default=65536, ge=1024)
    password_passes: int = Field(default=3, ge=1)
    """Stored hashes of another cost are made anew at the next login."""
