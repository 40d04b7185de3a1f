"""Which repository a clone URL means, however it is spelled.

A server says ``https://git.example.com/team/web.git`` and ``ssh://git@git.example.com:2222/team/web.git`` of what an engineer
registered as ``git@git.example.com:team/web``. What is compared is host and path. The scheme says how to get there, and so does
the port of all but HTTP, where it may tell one server from another. Letters count as small: so they do for every server whose
webhooks are understood here. The grammar is that of git-clone(1), section GIT URLS.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

_HTTP_PORTS: Final = {"http": 80, "https": 443}
_SCHEMES: Final = frozenset({"http", "https", "ssh", "git", "git+ssh", "ssh+git"})
# [user@]host:path, and no slash before the colon: git takes what has one for a local path.
_SCP: Final = re.compile(r"(?:[^@/:]+@)?(\[[0-9a-fA-F:.]+\]|[^@/:\[\]]+):(?!//)(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class CloneUrl:
    """A repository on a server; equal for equal ones."""

    host: str
    """With the port where that tells servers apart."""
    path: str
    """Without slashes around it and without ``.git``: ``team/web``."""
    written: str = field(default="", compare=False)
    """The same in the letters it was written in."""

    def __str__(self) -> str:
        return f"https://{self.host}/{self.path}"


def normalised(text: str) -> CloneUrl | None:
    """``None`` for what is on no server: a local path, ``file:``, or no URL at all."""
    scheme, separator, _ = text.partition("://")
    if not separator:
        matched = _SCP.fullmatch(text)
        return None if matched is None else _made(matched[1].strip("[]"), "", matched[2])
    scheme = scheme.lower()
    if scheme not in _SCHEMES:
        return None
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    ours = f":{port}" if scheme in _HTTP_PORTS and port not in (None, _HTTP_PORTS[scheme]) else ""
    return _made(host, ours, parts.path)


def same_repository(one: str, other: str) -> bool:
    """Whether both mean one repository on a server."""
    meant = normalised(one)
    return meant is not None and meant == normalised(other)


def _made(host: str, port: str, path: str) -> CloneUrl | None:
    host = host.lower().rstrip(".")
    written = unquote(path).strip("/")
    if written.lower().endswith(".git"):
        written = written[: -len(".git")].strip("/")
    if not host or not written:
        return None
    return CloneUrl((f"[{host}]" if ":" in host else host) + port, written.lower(), written)
