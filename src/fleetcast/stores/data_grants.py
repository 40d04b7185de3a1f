"""Grants on a directory's blobs: URLs signed with HMAC-SHA256, good until they expire.

What is signed is the method and the whole request target up to the signature, so nothing of it can be exchanged: a read
names its key, the upload of a part names upload, number and size. Whoever holds the data key can grant; the data port that
serves the URL, the bucket's own process and control do.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass

from fleetcast.model.errors import Forbidden, Invalid
from fleetcast.model.messages.grants import Grant

_CONTEXT = b"fleetcast-data-grant-1\n"
_READ = re.compile(r"/blobs/(?P<key>[A-Za-z0-9._/-]+)\?expires=(?P<expires>[0-9]{1,16})")
_PART = re.compile(
    r"/uploads/(?P<upload>[0-9a-f]{32})/(?P<number>[0-9]{1,5})\?size=(?P<size>[0-9]{1,12})&expires=(?P<expires>[0-9]{1,16})"
)


@dataclass(frozen=True, slots=True)
class GrantedPart:
    """One part of one upload, of at most ``size`` bytes (who grants does not know how long the last part will be)."""

    upload: str
    number: int
    size: int


def grant_read(data_url: str, data_key: bytes, key: str, expires_at_ms: int) -> Grant:
    """A GET (or HEAD) of the blob ``key``, which must be a legal one."""
    return _grant("GET", data_url, data_key, f"/blobs/{key}?expires={expires_at_ms}", expires_at_ms)


def grant_part(data_url: str, data_key: bytes, part: GrantedPart, expires_at_ms: int) -> Grant:
    """A PUT of one part."""
    target = f"/uploads/{part.upload}/{part.number}?size={part.size}&expires={expires_at_ms}"
    return _grant("PUT", data_url, data_key, target, expires_at_ms)


def granted_key(data_key: bytes, target: str, now_ms: int) -> str:
    """The key that a GET or HEAD of ``target`` may read. Raises :class:`Forbidden` if it was not granted or has expired."""
    return _verified("GET", data_key, target, _READ, now_ms)["key"]


def granted_part(data_key: bytes, target: str, now_ms: int) -> GrantedPart:
    """The part that a PUT to ``target`` may write. Raises :class:`Forbidden` if it was not granted or has expired."""
    match = _verified("PUT", data_key, target, _PART, now_ms)
    return GrantedPart(match["upload"], int(match["number"]), int(match["size"]))


def _grant(method: str, data_url: str, data_key: bytes, target: str, expires_at_ms: int) -> Grant:
    url = f"{data_url.rstrip('/')}{target}&signature={_signature(method, data_key, target)}"
    return Grant(method=method, url=url, expires_at_ms=expires_at_ms)


def _verified(method: str, data_key: bytes, target: str, form: re.Pattern[str], now_ms: int) -> re.Match[str]:
    signed, _, signature = target.rpartition("&signature=")
    expected = _signature(method, data_key, signed)
    if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "surrogateescape")):
        raise Forbidden("bad_grant", f"this URL does not grant a {method} here: ask for a new grant")
    match = form.fullmatch(signed)
    if match is None:
        raise Forbidden("bad_grant", f"this URL does not grant a {method} here: ask for a new grant")
    if int(match["expires"]) <= now_ms:
        advice = "ask for a new one; if that has expired too, set the clocks of the two hosts right"
        raise Forbidden("expired_grant", f"the grant has expired: {advice}")
    return match


def _signature(method: str, data_key: bytes, target: str) -> str:
    if not data_key:
        raise Invalid("no_data_key", "the data key is empty: anybody could sign; make a random one of 32 bytes")
    text = f"{method} {target}".encode("utf-8", "surrogateescape")
    return hmac.new(data_key, _CONTEXT + text, hashlib.sha256).hexdigest()
