"""The reference pages that are made from the code: ``python docs/generate`` writes them, ``--check`` says which are stale."""

from __future__ import annotations

import sys
from pathlib import Path

import bounds
import command_line
import errors
import settings

PAGES = {
    "cli.md": command_line.page,
    "settings.md": settings.page,
    "limits.md": bounds.page,
    "errors.md": errors.page,
}
DOCS = Path(__file__).parents[1]
NOTE = "<!-- Made from the code by `make docs`: change it there. -->\n\n"


def main(arguments: list[str]) -> int:
    stale = []
    for name, page in PAGES.items():
        text = NOTE + page()
        file = DOCS / name
        if file.exists() and file.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if arguments != ["--check"]:
            file.write_text(text, encoding="utf-8")
            print(f"docs/{name} written")
    if arguments == ["--check"] and stale:
        print(f"stale: {', '.join(f'docs/{name}' for name in stale)}: run make docs", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
