"""A BitTorrent metainfo file (version 1, which both rivals read) of one file, and its bencoding."""

from __future__ import annotations

import hashlib
from pathlib import Path

Bencodable = int | str | bytes | dict[str, "Bencodable"]


def metainfo(content: Path, piece_bytes: int, announce: str = "") -> bytes:
    """The torrent of a file. ``announce``: its tracker's URL; empty: it has none."""
    hashes = []
    with open(content, "rb") as file:
        while piece := file.read(piece_bytes):
            hashes.append(hashlib.sha1(piece, usedforsecurity=False).digest())
    info: dict[str, Bencodable] = {
        "length": content.stat().st_size,
        "name": content.name,
        "piece length": piece_bytes,
        "pieces": b"".join(hashes),
    }
    return bencoded({"info": info, **({"announce": announce} if announce else {})})


def bencoded(value: Bencodable) -> bytes:
    """A value in BitTorrent's encoding: dictionaries in the order of their keys' bytes."""
    match value:
        case int():
            return b"i%de" % value
        case str():
            return bencoded(value.encode())
        case bytes():
            return b"%d:%b" % (len(value), value)
        case dict():
            items = sorted((key.encode(), item) for key, item in value.items())
            return b"d" + b"".join(bencoded(key) + bencoded(item) for key, item in items) + b"e"
