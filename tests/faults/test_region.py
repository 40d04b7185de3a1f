"""A region is killed, or stopped, while its bucket holds a part of a copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

import victims
from company import PART_BYTES, Company
from fleetcast.model.limits import CHUNK_BYTES_MAX, DATA_PORT_LOOK_S_MAX
from founding import found

Strike = Callable[..., AbstractContextManager[None]]
Figure = Callable[[str], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    company = found(tmp_path_factory.mktemp("region"), regions=("eu",), machines=2)
    yield company
    company.close()


def test_while_it_copies(company: Company, strike: Strike, figure: Figure, fault: str) -> None:
    """It goes on where it was: what the bucket holds is not read again."""
    company.main.down.hold_after(3 * PART_BYTES + PART_BYTES // 2)
    deploying = company.deploy()

    def received() -> float:
        rows = company.rows("SELECT digest FROM artifacts WHERE commit_sha = ?", deploying.sha)
        return company.share_received(company.bucket("eu"), f"artifacts/{rows[0]['digest']}/content") if rows else 0.0

    def in_the_middle() -> bool:
        return company.state(deploying.sha) == "REPLICATING" and 0.25 <= received() <= 0.75

    pid = victims.stop_in(in_the_middle, lambda: company.pid("region-eu"), "a part of the copy is in the bucket")
    there = round(received() * company.content_bytes)
    with figure(f"{fault} with {received():.0%} of a copy"):
        passed = company.main.down.passed
        # Long enough for control, which looks into the bucket meanwhile, to give up waiting for an answer.
        with strike(company, "region-eu", pid, in_the_middle, DATA_PORT_LOOK_S_MAX + 1):
            pass
        company.open_all()
        company.settle(deploying)
    missing = company.content_bytes - there
    # Parts are read with all of the chunks that they touch; the manifest is in the bucket already.
    again = 2 * CHUNK_BYTES_MAX * -(-missing // PART_BYTES)
    read = company.main.down.passed - passed
    assert missing + again < company.content_bytes, "else the next line says nothing"
    assert read <= missing + again
