"""Tokens in files: made once, private, and known by their digest only."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fleetcast.http.tokens import Role, TokenSet, load, load_or_create, token_path
from fleetcast.model.errors import Forbidden, Invalid, NotFound, Unauthorized


def test_a_token_is_made_once_and_only_for_its_owner(tmp_path: Path) -> None:
    home = tmp_path / "made" / "on" / "demand"
    token = load_or_create(home, Role.ADMIN)
    assert load_or_create(home, Role.ADMIN) == token
    assert load_or_create(home, Role.AGENT) != token
    assert len(token) >= 40
    path = token_path(home, Role.ADMIN)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(entry.name for entry in home.iterdir()) == ["admin.token", "agent.token"]


def test_those_who_come_at_once_get_the_same_token(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        tokens = set(pool.map(lambda _: load_or_create(tmp_path, Role.WORKER), range(32)))
    assert len(tokens) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["worker.token"]


def test_a_token_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    load_or_create(tmp_path, Role.ADMIN)
    token_path(tmp_path, Role.ADMIN).chmod(0o640)
    with pytest.raises(Invalid, match="chmod 600"):
        load_or_create(tmp_path, Role.ADMIN)


def test_an_empty_or_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.token"
    with pytest.raises(NotFound, match=r"x\.token"):
        load(path)
    path.touch(0o600)
    with pytest.raises(Invalid, match=r"x\.token"):
        load(path)


def test_each_role_is_only_itself(tmp_path: Path) -> None:
    tokens = {role: load_or_create(tmp_path, role) for role in Role}
    known = TokenSet.load(tmp_path)
    for role, token in tokens.items():
        assert known.role_of(token) is role
        assert known.authorize(f"Bearer {token}", frozenset({role})) is role
        with pytest.raises(Forbidden, match=role):
            known.authorize(f"bearer {token}", frozenset(Role) - {role})
    assert known.role_of("guess") is None
    assert not any(token in repr(vars(known)) for token in tokens.values())


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic YWRtaW4=", "Bearer wrong", "Bearer \udcff"])
def test_anything_else_is_nobody(header: str | None) -> None:
    with pytest.raises(Unauthorized):
        TokenSet({Role.ADMIN: "right"}).authorize(header, frozenset(Role))


def test_a_person_has_a_token_of_their_own_and_is_told_apart(tmp_path: Path) -> None:
    shared = {role: load_or_create(tmp_path, role) for role in Role}
    (tmp_path / "admin.alice.token").touch(0o600)
    (tmp_path / "admin.alice.token").write_text("hers\n")
    known = TokenSet.load(tmp_path)
    assert known.authorize("Bearer hers", frozenset({Role.ADMIN})) is Role.ADMIN
    with pytest.raises(Forbidden, match="admin"):
        known.authorize("Bearer hers", frozenset({Role.WORKER}))
    assert known.name_of("Bearer hers") == "alice"
    assert known.name_of(f"Bearer {shared[Role.ADMIN]}") == "admin"
    assert "hers" not in repr(vars(known))


def test_a_persons_token_is_as_private_as_any_and_has_a_legal_name(tmp_path: Path) -> None:
    for role in Role:
        load_or_create(tmp_path, role)
    path = tmp_path / "admin.bob.token"
    path.write_text("his\n")
    path.chmod(0o644)
    with pytest.raises(Invalid, match=r"chmod 600"):
        TokenSet.load(tmp_path)
    path.chmod(0o600)
    path.rename(tmp_path / "admin.Bob B.token")
    with pytest.raises(Invalid, match=r"admin\.Bob B\.token names nobody"):
        TokenSet.load(tmp_path)
