"""A region is killed, or stopped, in a copy: before anything has come, with a part of it, with a part of a delta."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

import victims
from company import MIB, PART_BYTES, Company, Deploying
from fleetcast.model.limits import CHUNK_BYTES_MAX, DATA_PORT_LOOK_S_MAX
from founding import found
from running import wait_until

Strike = Callable[..., AbstractContextManager[None]]
Figure = Callable[[str], AbstractContextManager[None]]
CONTENT_MIB = 96
ANSWERS_BYTES = 4000
"""More than the main store says to a worker that uploads the content, less than the manifest has."""


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    company = found(tmp_path_factory.mktemp("region"), regions=("eu",), machines=2, content_mib=CONTENT_MIB)
    yield company
    company.close()


def digest_of(company: Company, deploying: Deploying) -> str:
    """Empty: it is not built."""
    rows = company.rows("SELECT digest FROM artifacts WHERE commit_sha = ?", deploying.sha)
    return str(rows[0]["digest"]) if rows else ""


def received(company: Company, deploying: Deploying) -> float:
    """How much of the content is in the bucket: 0 to 1."""
    digest = digest_of(company, deploying)
    return company.share_received(company.bucket("eu"), f"artifacts/{digest}/content") if digest else 0.0


def test_before_anything_has_come(company: Company, strike: Strike, figure: Figure, fault: str) -> None:
    company.main.down.hold_after(ANSWERS_BYTES)
    held = company.main.down.passed + ANSWERS_BYTES
    deploying = company.deploy()

    def waiting() -> bool:
        digest = digest_of(company, deploying)
        manifest = company.bucket("eu") / "blobs" / "artifacts" / digest / "manifest"
        return company.state(deploying.sha) == "REPLICATING" and company.main.down.passed >= held and not manifest.exists()

    pid = victims.stop_in(waiting, lambda: company.pid("region-eu"), "the manifest is on its way")
    with figure(f"{fault} before the manifest is there"):
        with strike(company, "region-eu", pid, waiting):
            pass
        company.open_all()
        company.settle(deploying)


def at_rest(company: Company) -> int:
    """Bytes that the main store's valve has passed, once it passes no more of what it still lets through."""
    looks: list[int] = []

    def quiet() -> bool:
        looks.append(company.main.down.passed)
        return looks[-10:].count(looks[-1]) == 10

    wait_until(quiet, "nothing more comes from the main store")
    return looks[-1]


def test_while_it_copies(company: Company, strike: Strike, figure: Figure, fault: str) -> None:
    """It goes on where it was: what the bucket holds is not read again."""
    # Of the parts on their way at a time each may be almost whole: at least four of twelve are.
    company.main.down.hold_after(7 * PART_BYTES + PART_BYTES // 2)
    deploying = company.deploy()

    def in_the_middle() -> bool:
        return company.state(deploying.sha) == "REPLICATING" and 0.25 <= received(company, deploying) <= 0.75

    pid = victims.stop_in(in_the_middle, lambda: company.pid("region-eu"), "a part of the copy is in the bucket")
    share = received(company, deploying)
    there = round(share * company.content_bytes)
    with figure(f"{fault} with {share:.0%} of a copy"):
        passed = at_rest(company)
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


def test_while_it_fetches_what_a_delta_lacks(company: Company, strike: Strike, figure: Figure, fault: str) -> None:
    """It goes on where it was, and takes the rest from the bucket again."""
    company.settle(company.deploy())
    # One MiB of each part is another; around it chunks that begin before it and end behind it.
    changed = range(4, CONTENT_MIB, PART_BYTES // MIB)
    began = company.main.down.passed
    company.main.down.hold_after(len(changed) * MIB * 3 // 4)
    deploying = company.deploy(company.commit(changed))

    def in_the_middle() -> bool:
        return company.state(deploying.sha) == "REPLICATING" and 0.25 <= received(company, deploying) <= 0.75

    pid = victims.stop_in(in_the_middle, lambda: company.pid("region-eu"), "a part of the delta is in the bucket")
    with figure(f"{fault} with {received(company, deploying):.0%} of a delta"):
        with strike(company, "region-eu", pid, in_the_middle):
            pass
        company.open_all()
        company.settle(deploying)
    around = MIB + 4 * CHUNK_BYTES_MAX
    assert len(changed) * around < 0.7 * company.content_bytes, "else the next line says nothing"
    assert company.main.down.passed - began <= len(changed) * around
