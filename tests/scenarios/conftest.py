"""A company on paper, and what happened in it as a text to compare with."""

from __future__ import annotations

import difflib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from fleetcast.rollouts import entering
from paper_company import paper_company
from story import Story

HERE = Path(__file__).parent


class _Named:
    """Deployments are d1, d2 and so on: who is in a wave depends on it."""

    def __init__(self) -> None:
        self.count = 0

    def token_hex(self, _bytes: int) -> str:
        self.count += 1
        return f"d{self.count}"


@pytest.fixture
async def story(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Story]:
    monkeypatch.setattr(entering, "secrets", _Named())
    async with paper_company(tmp_path, database_url) as company:
        company.machines = {}
        yield Story(company)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Story], None]:
    """Compare with ``tests/scenarios/NAME.txt``, NAME being the test's; with ``--golden`` write it anew."""

    def compare(told: Story) -> None:
        path = HERE / f"{request.node.originalname.removeprefix('test_')}.txt"
        if request.config.getoption("--golden"):
            path.write_text(told.text)
        expected = path.read_text().splitlines()
        found = told.text.splitlines()
        assert found == expected, "\n".join(difflib.unified_diff(expected, found, str(path), "now", lineterm=""))

    return compare
