"""Processes die and stall at random while a company deploys and goes back. ``FAULTS_SEED`` repeats the choices of a run."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import victims
from company import DEPLOYED_S_MAX, Company
from founding import found
from running import wait_until

BETWEEN_S = (0.5, 2.5)
HITS_MIN = 15
"""About 20 s; a round is played to its end."""
HITS_MAX = 40
"""On a busy machine somebody would always be on the way back, and nothing could end: from there on all are left in peace."""
STALL_S = (0.3, 3.0)
KILLED_SHARE = 0.7
UNREACHABLE = 5


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    company = found(tmp_path_factory.mktemp("random"), regions=("eu", "us"), machines=4, workers=2, content_mib=24)
    yield company
    company.close()


@contextmanager
def chaos(company: Company, rng: random.Random, hits: list[str]) -> Iterator[None]:
    """Meanwhile somebody is killed or stalls every few seconds. At the end everybody goes on."""
    over = threading.Event()
    names = company.names()

    def strike() -> None:
        while len(hits) < HITS_MAX and not over.wait(rng.uniform(*BETWEEN_S)):
            name, killed, stall_s = rng.choice(names), rng.random() < KILLED_SHARE, rng.uniform(*STALL_S)
            if not company.up(name):
                continue
            pid = company.pid(name)
            hits.append(f"{name} {'killed' if killed else 'stalls'}")
            if killed:
                victims.kill(pid)
            else:
                victims.stop(pid)
                over.wait(stall_s)
                victims.resume(pid)

    thread = threading.Thread(target=strike)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def insist(company: Company, *arguments: str) -> tuple[int, str]:
    """As a person does whose command could not reach control: the same again. Exit code and state of the deployment."""
    end = time.monotonic() + DEPLOYED_S_MAX
    while True:
        done = company.fleetcast(*arguments, "--json", timeout_s=DEPLOYED_S_MAX)
        assert "Traceback" not in done.stderr
        if done.returncode != UNREACHABLE:
            assert done.stdout, done.stderr
            return done.returncode, json.loads(done.stdout)["state"]
        assert time.monotonic() < end, done.stderr


def a_round(company: Company) -> tuple[str, str]:
    """Three deployments, the second overtaken by the third, and a rollback to the first. Returns the first and the third."""
    first, second, third = (company.commit() for _ in range(3))
    assert insist(company, "deploy", f"web@{first}") == (0, "SUCCEEDED")
    overtaken = company.deploy(second)
    wait_until(lambda: company.state(second) != "" or overtaken.process.poll() is not None, "the second is triggered")
    assert insist(company, "deploy", f"web@{third}") == (0, "SUCCEEDED")
    overtaken.process.communicate(timeout=DEPLOYED_S_MAX)
    assert insist(company, "rollback", "web", "--to", first) == (0, "SUCCEEDED")
    return first, third


def test_whatever_dies_every_deployment_ends_as_it_should(
    company: Company, record_property: Callable[[str, object], None]
) -> None:
    seed = int(os.environ.get("FAULTS_SEED") or random.SystemRandom().randrange(10**6))
    print(f"FAULTS_SEED={seed}")
    hits: list[str] = []
    rounds: list[tuple[str, str]] = []
    began_at = time.monotonic()
    try:
        with chaos(company, random.Random(seed), hits):
            while len(hits) < HITS_MIN:
                rounds.append(a_round(company))
    finally:
        print("\n".join(hits))
    took_s = time.monotonic() - began_at
    record_property(
        "figure", f"{len(rounds)} times 3 deployments and a rollback, {len(hits)} hits: {took_s:.1f} s (seed {seed})"
    )

    states = {(row["commit_sha"], row["state"]) for row in company.rows("SELECT commit_sha, state FROM deployments")}
    assert {state for _, state in states} <= {"SUCCEEDED", "SUPERSEDED"}
    assert all((sha, "SUCCEEDED") in states for each in rounds for sha in each)
    # Of one that was overtaken the build is stopped, or it goes on to its end, on a worker that may have been hit last.
    under_way = "SELECT id FROM jobs WHERE status IN ('QUEUED', 'RUNNING')"
    wait_until(lambda: not company.rows(under_way), "every build has ended", DEPLOYED_S_MAX)
    jobs = [dict(row) for row in company.rows("SELECT commit_sha, status, reason FROM jobs")]
    overtaken = {sha for sha, state in states if state == "SUPERSEDED"} - {sha for sha, state in states if state == "SUCCEEDED"}
    failed = [job for job in jobs if job["status"] != "SUCCEEDED"]
    assert all(job["commit_sha"] in overtaken and "nobody wants it any more" in job["reason"] for job in failed), failed
    built = {job["commit_sha"] for job in jobs} - {job["commit_sha"] for job in failed}
    assert len(company.rows("SELECT name FROM artifacts")) == len(built)
    first, third = rounds[-1]
    company.check_machines(first)
    company.check_copies(third)
    company.check_leftovers()
