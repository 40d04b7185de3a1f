"""Every page is read from top to bottom, and everything in it that can be typed is typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from .pages import PAGES, blocks
from .play import play


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(block.runs for block in blocks(page))], ids=lambda page: page.name
)
def test_what_a_page_says_is_what_happens(page: Path, tmp_path: Path) -> None:
    play(page, tmp_path)
