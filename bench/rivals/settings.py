"""The rivals' frozen settings, read from the files beside this."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@dataclass(frozen=True)
class LibtorrentSettings:
    piece_bytes: int
    session: dict[str, Any]
    """As ``libtorrent.session`` takes them."""


@dataclass(frozen=True)
class Aria2Settings:
    piece_bytes: int
    tracker_interval_s: int
    options: dict[str, Any]

    def arguments(self) -> list[str]:
        """As ``aria2c`` takes them."""
        return [f"--{name}={_text(value)}" for name, value in self.options.items()]


def libtorrent_settings(file: Path = HERE / "libtorrent.toml") -> LibtorrentSettings:
    read = tomllib.loads(file.read_text())
    return LibtorrentSettings(read["torrent"]["piece_bytes"], read["session"])


def aria2_settings(file: Path = HERE / "aria2.toml") -> Aria2Settings:
    read = tomllib.loads(file.read_text())
    return Aria2Settings(read["torrent"]["piece_bytes"], read["tracker"]["interval_s"], read["options"])


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
