"""A company on paper for every test here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from paper_company import Company, paper_company


@pytest.fixture
async def company(tmp_path: Path, database_url: str) -> AsyncIterator[Company]:
    async with paper_company(tmp_path, database_url) as company:
        yield company
