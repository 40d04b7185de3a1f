"""What rivals are given: their frozen settings, and the torrent."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from bench.rivals import content
from bench.rivals.settings import aria2_settings, libtorrent_settings
from bench.rivals.torrent import Bencodable, bencoded, metainfo


def test_libtorrent_is_not_hobbled_by_its_defaults() -> None:
    settings = libtorrent_settings()
    assert settings.session["unchoke_interval"] == 1
    assert settings.session["unchoke_slots_limit"] == -1
    assert settings.piece_bytes == 256 << 10


def test_aria2_is_told_in_its_own_words() -> None:
    settings = aria2_settings()
    arguments = settings.arguments()
    assert {"--enable-dht=false", "--bt-tracker-interval=2", "--disk-cache=64M", "--seed-ratio=0.0"} <= set(arguments)
    assert settings.tracker_interval_s == 2


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (-7, b"i-7e"),
        ("spam", b"4:spam"),
        ("ü", b"2:\xc3\xbc"),
        (b"", b"0:"),
        ({}, b"de"),
        ({"b": 1, "a": {"c": b"\0"}}, b"d1:ad1:c1:\x00e1:bi1ee"),
    ],
)
def test_bencoding(value: Bencodable, encoded: bytes) -> None:
    assert bencoded(value) == encoded


def test_a_torrent_has_a_hash_for_each_piece_and_the_last_may_be_short(tmp_path: Path) -> None:
    file = tmp_path / "content"
    content.make(file, 2500)
    data = file.read_bytes()
    pieces = b"".join(hashlib.sha1(data[start : start + 1000]).digest() for start in (0, 1000, 2000))
    info = b"d6:lengthi2500e4:name7:content12:piece lengthi1000e6:pieces60:" + pieces + b"e"
    assert metainfo(file, 1000) == b"d4:info" + info + b"e"
    assert metainfo(file, 1000, "http://hub/announce") == b"d8:announce19:http://hub/announce4:info" + info + b"e"


def test_content_is_what_its_seed_says_and_nothing_compresses_it(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        content.make(tmp_path / name, 100_000, seed)
    same, again, other = ((tmp_path / name).read_bytes() for name in "abc")
    assert len(same) == 100_000
    assert same == again != other
