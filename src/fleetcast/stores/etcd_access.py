"""Where an etcd cluster is, and what lets us in: from a URL and the names of files."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from fleetcast.model.errors import Invalid, NotFound
from fleetcast.model.limits import ETCD_SERVERS_MAX

SCHEMES: Final = {"etcd": "http", "etcds": "https"}
"""Of the URL, and what is spoken to the servers then."""
PORT: Final = 2379
PREFIX: Final = "/fleetcast/"
"""Of all keys, where the URL names none."""
KEYS: Final = "kv/"
"""What is below the prefix: the keys,"""
LAST: Final = "last"
"""what every write of one touches, with more below it,"""
ID: Final = "id"
"""and what tells this store from one that was set up anew in its place."""
_SERVER: Final = re.compile(r"(?P<host>\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+)(:(?P<port>[0-9]{1,5}))?")
_PREFIX: Final = re.compile(r"[!-~]{0,100}")
_EXAMPLE: Final = "for instance etcds://kv1:2379,kv2:2379,kv3:2379/fleetcast"


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdAccess:
    """Without secrets: those are in the files. ``Path()``: no file."""

    servers: tuple[str, ...]
    """Their URLs; any of them will do."""
    prefix: str = PREFIX
    """Of all keys; begins and ends with a slash."""
    user_file: Path = Path()
    """``USER:PASSWORD`` in one line, mode 0600."""
    ca_file: Path = Path()
    """PEM: who signed the servers' certificates; none: the system's authorities."""
    certificate_file: Path = Path()
    """PEM: what we show the servers."""
    key_file: Path = Path()
    """PEM, mode 0600: the key of that."""

    @property
    def place(self) -> str:
        """The servers, as people write them."""
        return ",".join(urlsplit(server).netloc for server in self.servers)

    @property
    def encrypted(self) -> bool:
        return self.servers[0].startswith("https:")

    def meets(self, other: EtcdAccess) -> bool:
        """Whether keys of one would be among those of the other, as far as the names of servers tell.

        A prefix may be within another, but not where that has its keys.
        """
        hosts, others = ({urlsplit(server).netloc.lower() for server in access.servers} for access in (self, other))
        outer, inner = sorted((self.prefix, other.prefix), key=len)
        within = inner == outer or inner.startswith((f"{outer}{KEYS}", f"{outer}{LAST}/"))
        return bool(hosts & others) and within


def etcd_access(
    url: str,
    *,
    user_file: Path = Path(),
    ca_file: Path = Path(),
    certificate_file: Path = Path(),
    key_file: Path = Path(),
) -> EtcdAccess:
    """What a ``kv_url`` and the files beside it say. Raises :class:`Invalid`; the files are read by :func:`user_of` and TLS."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in SCHEMES:
        raise Invalid("bad_kv_url", f"kv_url is {_shown(url)!r}: it begins with etcd:// or etcds:// (TLS), {_EXAMPLE}")
    named, _, path = rest.partition("/")
    if "@" in named:
        raise Invalid("bad_kv_url", "kv_url has a user in it: write USER:PASSWORD into a file, and name that as kv_user_file")
    servers = tuple(_server(SCHEMES[scheme], one, url) for one in named.split(","))
    if len(set(servers)) != len(servers) or len(servers) > ETCD_SERVERS_MAX:
        raise Invalid("bad_kv_url", f"kv_url names a server twice, or more than {ETCD_SERVERS_MAX}: {_EXAMPLE}")
    if not _PREFIX.fullmatch(path) or "?" in path or "#" in path:
        raise Invalid("bad_kv_url", f"kv_url ends in {path!r}: the prefix of keys is up to 100 plain characters, {_EXAMPLE}")
    if scheme == "etcd" and {ca_file, certificate_file, key_file} != {Path()}:
        raise Invalid("bad_kv_url", "there are certificates for a kv_url without TLS: begin it with etcds://")
    if (certificate_file == Path()) != (key_file == Path()):
        raise Invalid("bad_kv_url", "kv_certificate_file and kv_key_file go together: name both or none")
    return EtcdAccess(
        servers=servers,
        prefix=f"/{path.strip('/')}/" if path.strip("/") else PREFIX,
        user_file=user_file,
        ca_file=ca_file,
        certificate_file=certificate_file,
        key_file=key_file,
    )


def user_of(access: EtcdAccess) -> tuple[str, str] | None:
    """User and password, if any. Raises :class:`Invalid` and :class:`NotFound`, without saying what is in the file."""
    if access.user_file == Path():
        return None
    text = closed_text(access.user_file, "kv_user_file").strip()
    user, colon, password = text.partition(":")
    if not (user and colon and password) or "\n" in text:
        raise Invalid("bad_kv_user", f"{access.user_file} must have one line, USER:PASSWORD")
    return user, password


def closed_text(path: Path, setting: str) -> str:
    """A file that only its owner may read. Raises :class:`Invalid` and :class:`NotFound`."""
    try:
        with open(path, encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read()
    except FileNotFoundError:
        raise NotFound("no_kv_file", f"there is no file {path}: make it, or correct {setting}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(
            "bad_kv_file", f"{path} cannot be read ({type(error).__name__}): look after it, or correct {setting}"
        ) from None
    if mode & 0o077:
        raise Invalid("kv_file_open", f"others may read {path}, which is a secret: run chmod 600 on it")
    return text


def _server(scheme: str, text: str, url: str) -> str:
    found = _SERVER.fullmatch(text)
    if found is None or not 0 < int(found["port"] or PORT) < 65_536:
        raise Invalid("bad_kv_url", f"kv_url is {_shown(url)!r}: {text!r} is no HOST:PORT, {_EXAMPLE}")
    return f"{scheme}://{found['host']}:{found['port'] or PORT}"


def _shown(url: str) -> str:
    return re.sub(r"//.*@", "//***@", url)
