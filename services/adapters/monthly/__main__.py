"""Renders one report: the month as JSON on standard input, the file on standard output.

A process of its own, so that whoever asks can go on with other things meanwhile.
"""

from __future__ import annotations

import sys

from services.adapters.monthly.document import from_json
from services.adapters.monthly.fonts import NoFont

NO_FONT = 3
"""Exit code: the message is on standard error."""


def main() -> int:
    month = from_json(sys.stdin.buffer.read())
    try:
        if sys.argv[1] == "pdf":
            from services.adapters.monthly.pdf import render_pdf

            content = render_pdf(month)
        else:
            from services.adapters.monthly.xlsx import render_xlsx

            content = render_xlsx(month)
    except NoFont as error:
        sys.stderr.write(str(error))
        return NO_FONT
    sys.stdout.buffer.write(content)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
