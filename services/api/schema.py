"""Writes the published schema of the API, for the typed client of the cockpit: `python -m services.api.schema FILE`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from services.api.app import create_app
from services.api.main import compose
from services.api.settings import ApiSettings


def published() -> str:
    """The OpenAPI document; needs no database, and depends on the code alone."""
    settings = ApiSettings.model_validate({"database_url": "postgresql://nowhere", "secret_key": "-" * 32})
    document = create_app(compose(settings), lambda: None).openapi()
    return json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def main() -> None:
    Path(sys.argv[1]).write_text(published(), encoding="utf-8")


if __name__ == "__main__":
    main()
