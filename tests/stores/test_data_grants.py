"""Grants cannot be forged, changed, exchanged or used late."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetcast.model.errors import Forbidden, Invalid
from fleetcast.model.messages.grants import Grant
from fleetcast.stores.data_grants import GrantedPart, grant_part, grant_read, granted_key, granted_part

URL = "http://127.0.0.1:7402"
KEY = b"the bucket's data key"
NOW = 1_800_000_000_000
LATER = NOW + 60_000
PART = GrantedPart(upload="0123456789abcdef" * 2, number=12, size=8_388_608)


def target(grant: Grant) -> str:
    assert grant.url.startswith(URL)
    return grant.url.removeprefix(URL)


READ = target(grant_read(URL, KEY, "builds/1/1/content", LATER))
WRITE = target(grant_part(URL, KEY, PART, LATER))


def test_a_grant_says_what_it_grants() -> None:
    assert granted_key(KEY, READ, NOW) == "builds/1/1/content"
    assert granted_part(KEY, WRITE, NOW) == PART


def test_a_base_url_may_end_with_a_slash() -> None:
    assert grant_read(URL + "/", KEY, "a", LATER) == grant_read(URL, KEY, "a", LATER)


def test_a_grant_ends_when_it_says() -> None:
    assert granted_key(KEY, READ, LATER - 1)
    for late in (LATER, LATER + 1):
        with pytest.raises(Forbidden) as refusal:
            granted_key(KEY, READ, late)
        assert refusal.value.code == "expired_grant"
        with pytest.raises(Forbidden):
            granted_part(KEY, WRITE, late)


def test_a_grant_is_for_one_method() -> None:
    with pytest.raises(Forbidden):
        granted_part(KEY, READ, NOW)
    with pytest.raises(Forbidden):
        granted_key(KEY, WRITE, NOW)


def test_another_bucket_key_grants_nothing() -> None:
    with pytest.raises(Forbidden):
        granted_key(b"another bucket's data key", READ, NOW)


def test_an_empty_data_key_is_refused() -> None:
    with pytest.raises(Invalid):
        grant_read(URL, b"", "a", LATER)
    with pytest.raises(Invalid):
        granted_key(b"", READ, NOW)


@given(at=st.integers(0, 400), replacement=st.text(max_size=3))
def test_no_changed_url_is_accepted(at: int, replacement: str) -> None:
    for grant, check in ((READ, granted_key), (WRITE, granted_part)):
        changed = grant[:at] + replacement + grant[at + 1 :]
        if changed != grant:
            with pytest.raises(Forbidden):
                check(KEY, changed, NOW)


@pytest.mark.parametrize(
    "forged",
    [
        "",
        "/",
        "/blobs/a",
        "/blobs/a?expires=99999999999999",
        "/blobs/a?expires=99999999999999&signature=",
        "/blobs/a?expires=99999999999999&signature=" + "0" * 64,
        READ + "&signature=" + "0" * 64,
        READ.replace("content", "manifest"),
        READ.replace(str(LATER), str(LATER + 1)),
        READ + "\x00",
        "é" * 100,
        "\udcff",
    ],
)
def test_forgeries_are_refused(forged: str) -> None:
    with pytest.raises(Forbidden) as refusal:
        granted_key(KEY, forged, NOW)
    assert refusal.value.code == "bad_grant"
