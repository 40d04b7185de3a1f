"""What may be a name."""

from __future__ import annotations

import pytest

from fleetcast.model import ids
from fleetcast.model.errors import Incompatible, Invalid
from fleetcast.model.protocol import PROTOCOL, check


@pytest.mark.parametrize("text", ["web", "a", "web-2", "0", "x" * 63])
def test_legal_names(text: str) -> None:
    assert ids.service_name(text) == ids.region_name(text) == ids.machine_id(text) == text


@pytest.mark.parametrize("text", ["", "Web", "-web", "web-", "we_b", "web/1", "..", "x" * 64, "wéb", "web\n"])
def test_illegal_names_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        ids.service_name(text)
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("text", ["HEAD", "abc1234", "A" * 40, "a" * 41, "a" * 40 + "\n"])
def test_only_full_shas_name_a_commit(text: str) -> None:
    with pytest.raises(Invalid, match="40 hex digits"):
        ids.commit_sha(text)


def test_a_rebuild_has_a_name_of_its_own() -> None:
    web, commit = ids.service_name("web"), ids.commit_sha("a" * 40)
    assert ids.artifact_name(web, commit, 1) == f"web/{commit}"
    assert ids.artifact_name(web, commit, 2) == f"web/{commit}.2"


def test_neighbours_one_version_away_are_understood() -> None:
    check(PROTOCOL - 1)
    check(PROTOCOL + 1)
    with pytest.raises(Incompatible):
        check(PROTOCOL + 2)
