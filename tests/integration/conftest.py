"""What integration tests of ingest share."""

from __future__ import annotations

from tests.ingest_fixtures import db, home, wire

__all__ = ["db", "home", "wire"]
