"""What etcd's JSON gateway says (``rpc.proto`` of etcd 3.4 to 3.6): of each message the fields that we look at.

The gateway writes 64-bit numbers as text and bytes in base64, and leaves out what is zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

T = TypeVar("T")

DELETED: Final = "DELETE"
"""Type of an event; that of a write is left out."""


@dataclass(frozen=True, slots=True)
class Header:
    cluster_id: int = 0
    revision: int = 0


@dataclass(frozen=True, slots=True)
class KeyValue:
    key: bytes = b""
    value: bytes = b""
    mod_revision: int = 0
    version: int = 0


@dataclass(frozen=True, slots=True)
class RangeReply:
    header: Header = Header()
    kvs: tuple[KeyValue, ...] = ()
    more: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    response_range: RangeReply = RangeReply()


@dataclass(frozen=True, slots=True)
class TxnReply:
    header: Header = Header()
    succeeded: bool = False
    responses: tuple[Response, ...] = ()


@dataclass(frozen=True, slots=True)
class CompactionReply:
    header: Header = Header()


@dataclass(frozen=True, slots=True)
class AuthenticateReply:
    token: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    kv: KeyValue = KeyValue()
    type: str = ""


@dataclass(frozen=True, slots=True)
class WatchReply:
    header: Header = Header()
    canceled: bool = False
    compact_revision: int = 0
    cancel_reason: str = ""
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """An error; inside a stream the gateway calls its code ``grpc_code``."""

    code: int = 0
    grpc_code: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class WatchLine:
    """One line of a watch."""

    result: WatchReply = WatchReply()
    error: Problem | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """Of ``/version``, which tells everybody."""

    etcdserver: str = ""
    etcdcluster: str = ""


def decoded(data: bytes | bytearray, into: type[T]) -> T:
    """Raises :class:`msgspec.MsgspecError` for what is no such message."""
    return msgspec.json.decode(data, type=into, strict=False)
