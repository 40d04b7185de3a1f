"""One repository, many spellings."""

from __future__ import annotations

import string
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetcast.model.clone_url import normalised, same_repository

LABELS = st.text(string.ascii_letters + string.digits, min_size=1, max_size=8)
HOSTS = st.lists(LABELS, min_size=1, max_size=3).map(".".join)
PARTS = st.text(string.ascii_letters + string.digits + "-_.", min_size=1, max_size=8).filter(
    lambda part: part.strip(".") and not part.lower().endswith(".git")
)
PATHS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)


def _spellings(host: str, path: str) -> list[str]:
    return [
        f"https://{host}/{path}",
        f"https://{host}/{path}.git",
        f"https://{host}:443/{path}.git/",
        f"http://{host}:80/{path}",
        f"https://someone:secret@{host}/{path}.git",
        f"HTTPS://{host.upper()}/{path.upper()}.GIT",
        f"ssh://git@{host}/{path}.git",
        f"ssh://git@{host}:2222/{path}.git",
        f"git+ssh://{host}/{path}",
        f"git://{host}:9418/{path}.git",
        f"git@{host}:{path}.git",
        f"{host}:{path}",
        f"git@{host}:/{path}.git",
        f"https://{host}/{quote(path, safe='')}.git",
    ]


@given(HOSTS, PATHS)
def test_every_spelling_of_a_repository_means_the_same(host: str, path: str) -> None:
    meant = {normalised(text) for text in _spellings(host, path)}
    assert len(meant) == 1
    assert None not in meant


@given(HOSTS, PATHS, HOSTS, PATHS)
def test_other_hosts_and_paths_are_other_repositories(host: str, path: str, other_host: str, other_path: str) -> None:
    same = (host.lower(), path.lower()) == (other_host.lower(), other_path.lower())
    for one, other in zip(_spellings(host, path), reversed(_spellings(other_host, other_path)), strict=True):
        assert same_repository(one, other) is same


@given(st.text())
def test_any_text_means_a_repository_or_none_and_says_which_in_one_way(text: str) -> None:
    meant = normalised(text)
    if meant is not None and "%" not in meant.path and not set("?#") & set(str(meant)):
        assert meant == normalised(str(meant)) or not str(meant).isascii()


@pytest.mark.parametrize(
    "text",
    ["/srv/web.git", "../web", "file:///srv/web.git", "", "https://", "https:///web", "./a:b", "C://web", "https://h:x/y"],
)
def test_what_is_on_no_server_means_none(text: str) -> None:
    assert normalised(text) is None
    assert not same_repository(text, text)


def test_the_port_tells_http_servers_apart_and_no_others() -> None:
    assert not same_repository("http://127.0.0.1:8001/a/b.git", "http://127.0.0.1:8002/a/b.git")
    assert same_repository("ssh://git@git.example.com:2222/a/b", "https://git.example.com/a/b.git")
    assert str(normalised("git@[::1]:a/b")) == "https://[::1]/a/b"
