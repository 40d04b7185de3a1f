"""A copy takes chunks from the newest artifacts of its own service."""

from __future__ import annotations

from fleetcast.model.artifact import ArtifactRecord
from fleetcast.model.goal import ReleaseRef
from fleetcast.model.ids import ArtifactName, Digest
from fleetcast.model.limits import COPY_BASES_LOOKED_MAX
from fleetcast.region.copy_bases import bases


def record(service: str, number: int, digest: str) -> ArtifactRecord:
    release = ReleaseRef(ArtifactName(f"{service}/{number:040x}"), Digest(digest * 64), Digest(f"{number:064x}"))
    return ArtifactRecord(release, "", 1, 1)


def test_the_newest_of_the_service_come_first() -> None:
    known = [record("web", 1, "a"), record("api", 2, "b"), record("web", 3, "c"), record("web", 4, "d")]
    assert bases(record("web", 4, "d").release, known) == ("c" * 64, "a" * 64)


def test_a_service_is_not_another_whose_name_begins_the_same() -> None:
    assert bases(record("web", 2, "b").release, [record("web-admin", 1, "a")]) == ()


def test_two_commits_with_equal_files_are_one() -> None:
    known = [record("web", 1, "a"), record("web", 2, "a"), record("web", 3, "b")]
    assert bases(record("web", 4, "c").release, known) == ("b" * 64, "a" * 64)
    assert bases(record("web", 5, "a").release, known) == ("b" * 64,)


def test_only_so_many_are_looked_for() -> None:
    known = [record("web", number, f"{number:x}"[0]) for number in range(1, 16)]
    assert len(bases(record("web", 99, "0").release, known)) == COPY_BASES_LOOKED_MAX
