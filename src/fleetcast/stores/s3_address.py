"""Where a bucket of an S3-compatible store is: ``s3://BUCKET/PREFIX?endpoint=https://HOST&region=NAME&addressing=path``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final, Literal
from urllib.parse import parse_qsl, urlsplit

from fleetcast.model.errors import Invalid
from fleetcast.model.limits import S3_HOST_CHARS_MAX, S3_PREFIX_BYTES_MAX
from fleetcast.stores.blobs import check_key

Addressing = Literal["auto", "path", "virtual"]
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_REGION: Final = re.compile(r"[a-zA-Z0-9-]{1,63}")
_HOST: Final = re.compile(r"((?!-)[A-Za-z0-9-]{1,63}(?<!-)\.)*(?!-)[A-Za-z0-9-]{1,63}(?<!-)\.?")
"""Labels of DNS: what the client takes. An underscore, as Compose gives to its hosts, is none."""
_KNOWN: Final = ("endpoint", "region", "addressing")


@dataclass(frozen=True, slots=True)
class S3Address:
    """No secret is in it."""

    bucket: str
    prefix: str = ""
    """Before every key, with a ``/`` between; empty: none."""
    endpoint: str = ""
    """Of a store that is not Amazon's."""
    region: str = ""
    """Empty: as the environment says, ``us-east-1`` where an endpoint is given."""
    addressing: Addressing = "auto"
    """Whether the bucket is in the path or in the host's name; ``auto``: as the client finds best."""

    def __str__(self) -> str:
        """To be shown."""
        at = f" at {self.endpoint}" if self.endpoint else ""
        return f"s3://{self.bucket}{'/' if self.prefix else ''}{self.prefix}{at}"


def s3_address(url: str) -> S3Address:
    """Raises :class:`Invalid`, whose message never has the URL: somebody may have put a secret into it."""
    try:
        parts = urlsplit(url)
        host, credentials = parts.netloc, parts.username is not None or parts.password is not None
        given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise _bad("it cannot be read") from None
    if parts.scheme != "s3" or parts.fragment:
        raise _bad("it does not begin with s3://, or has a # in it")
    if credentials:
        raise _bad("it has a user in it: credentials belong into the file that store_credentials_file names")
    if not _BUCKET.fullmatch(host):
        raise _bad("a bucket's name has 3 to 63 of a-z, 0-9, '.' and '-'")
    options = dict(given)
    if len(options) != len(given) or not options.keys() <= set(_KNOWN):
        raise _bad(f"after the ? it takes {', '.join(_KNOWN)}, each once")
    return S3Address(
        host, _prefix(parts.path), _endpoint(options), _region(options), _addressing(options.get("addressing", "auto"))
    )


def _prefix(path: str) -> str:
    prefix = path.strip("/")
    if prefix:
        try:
            check_key(prefix)
        except Invalid as error:
            raise _bad(f"its prefix is not one: {error.message}") from None
    if len(prefix) > S3_PREFIX_BYTES_MAX:
        raise _bad(f"its prefix is longer than {S3_PREFIX_BYTES_MAX} bytes")
    return prefix


def _endpoint(options: dict[str, str]) -> str:
    endpoint = options.get("endpoint", "").rstrip("/")
    if not endpoint:
        return ""
    try:
        parts = urlsplit(endpoint)
        whole = parts.scheme in ("http", "https") and _is_host(parts.hostname or "") and parts.port != 0
    except ValueError:
        whole = False
    if not whole or not endpoint.isprintable() or parts.username is not None or parts.path or parts.query or parts.fragment:
        raise _bad("its endpoint is not http:// or https:// with a host (a-z, 0-9, '-', '.'), perhaps a port, and nothing else")
    return endpoint


def _is_host(text: str) -> bool:
    if ":" not in text:
        return len(text) <= S3_HOST_CHARS_MAX and _HOST.fullmatch(text) is not None
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _region(options: dict[str, str]) -> str:
    region = options.get("region", "")
    if region and not _REGION.fullmatch(region):
        raise _bad("its region is not a name such as eu-central-1")
    return region


def _addressing(text: str) -> Addressing:
    match text:
        case "auto" | "path" | "virtual":
            return text
    raise _bad("addressing is one of auto, path and virtual")


def _bad(reason: str) -> Invalid:
    form = "s3://BUCKET/PREFIX?endpoint=https://HOST:PORT&region=NAME"
    return Invalid("bad_store_url", f"that is not the URL of a store: {reason}: write it as {form}")
