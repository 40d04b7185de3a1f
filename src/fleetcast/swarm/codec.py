"""The wire between peers, without sockets: frames to bytes and back.

A connection is one-way: whoever dialled asks, the other answers in order. ::

    dialler                                 server
    Hello{protocol,digest,machine,ticket}   Hello, then Bitmap       or Refused{code}, and the end
    Request{pieces}                         for each, in order: [Have] Chunk + bytes, or Refused{piece}
    Wait                                    Have, soon when there is news, else empty after a while; a server whose Hello
                                            says ``waits`` does this unasked after the last piece of a Request, too
                                            an empty Have in line: it waits for my rate limit
    -                                       Coming, before a Have, to a dialler of its own rack that understands it
    Bye{code,piece}                         -

Requests may be sent while a Wait is not answered yet. Every frame begins with a header of ``HEADER_BYTES``: kind u8, load u8,
two zero bytes, body length u32, two numbers u32, all little-endian. The load, in Chunk and Have, is how many pieces the
server owes to all of its peers, at most 255; who does not tell says 0. A Chunk's bytes are not its body: they follow it, as
many as its second number says, and go from the socket straight into a buffer.

Pure.
"""

from __future__ import annotations

import json
from array import array
from dataclasses import dataclass
from struct import Struct
from typing import Any, Final, NamedTuple

from fleetcast.model.errors import Corrupt
from fleetcast.model.ids import Digest, MachineId
from fleetcast.model.limits import (
    CHUNK_BYTES_MAX,
    SWARM_FRAME_BYTES_MAX,
    SWARM_HAVE_PIECES_MAX,
    SWARM_HELLO_BYTES_MAX,
    SWARM_IN_FLIGHT_MAX,
)
from fleetcast.model.protocol import PROTOCOL
from fleetcast.swarm.bitmap import Ranges

_HEADER: Final = Struct("<BBxxIII")
HEADER_BYTES: Final = _HEADER.size
_PIECES_PER_REQUEST_MAX: Final = 2 * SWARM_IN_FLIGHT_MAX

HELLO: Final = 1
BITMAP: Final = 2
REQUEST: Final = 3
CHUNK: Final = 4
HAVE: Final = 5
WAIT: Final = 6
REFUSED: Final = 7
BYE: Final = 8
COMING: Final = 9

LOAD_MAX: Final = 255
NO_PIECE: Final = 2**32 - 1


class Header(NamedTuple):
    kind: int
    body_bytes: int
    first: int
    second: int
    load: int = 0


@dataclass(frozen=True, slots=True)
class Hello:
    """Who speaks, and of which artifact. A server's has no ticket."""

    digest: Digest
    machine: MachineId
    ticket: str = ""
    port: int = 0
    """Where the speaker listens itself; 0: it does not say."""
    zone: str = ""
    rack: str = ""
    protocol: int = PROTOCOL
    coming: int = 0
    """1: it understands Coming."""
    waits: int = 0
    """1: what it sends last of a Request it takes for a Wait."""


@dataclass(frozen=True, slots=True)
class Bitmap:
    """What the server has of the ``count`` pieces it knows, packed as in ``bitmap.pack``."""

    count: int
    bits: bytes


@dataclass(frozen=True, slots=True)
class Request:
    pieces: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Chunk:
    """``length`` bytes of ``piece`` follow."""

    piece: int
    length: int
    load: int = 0


@dataclass(frozen=True, slots=True)
class Have:
    """News since the Bitmap or the last Have."""

    ranges: Ranges
    load: int = 0
    in_line: bool = False
    """What you are owed waits for my rate limit."""
    askers: int = 0
    """How many peers the server serves; 0: it does not say."""


@dataclass(frozen=True, slots=True)
class Coming:
    """What the server is about to get from outside the rack: whoever shares the rack need not get it from there too."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Wait:
    """Tell me news, or after a while that there is none."""


@dataclass(frozen=True, slots=True)
class Refused:
    """No: to the whole connection, or to one piece."""

    code: str
    piece: int = NO_PIECE
    protocol: int = 0
    """What the refusing side speaks, when that is why; 0: it does not say."""


@dataclass(frozen=True, slots=True)
class Bye:
    """The end. With a piece: what you sent as that was something else."""

    code: str = ""
    piece: int = NO_PIECE


Frame = Hello | Bitmap | Request | Chunk | Have | Wait | Refused | Bye | Coming


def encode(frame: Frame) -> bytes:
    """The bytes of a frame; for a Chunk, those before its bytes."""
    match frame:
        case Hello():
            return _frame(HELLO, _hello_text(frame))
        case Bitmap(count, bits):
            return _frame(BITMAP, bits, count)
        case Request(pieces):
            return _frame(REQUEST, _numbers(pieces))
        case Chunk(piece, length, load):
            return _frame(CHUNK, b"", piece, length, load)
        case Have(ranges, load, in_line, askers):
            return _frame(HAVE, _numbers(number for pair in ranges for number in pair), int(in_line), askers, load)
        case Coming(ranges):
            return _frame(COMING, _numbers(number for pair in ranges for number in pair))
        case Wait():
            return _frame(WAIT)
        case Refused(code, piece, spoken):
            return _frame(REFUSED, code.encode(), piece, spoken)
        case Bye(code, piece):
            return _frame(BYE, code.encode(), piece)


def decode_header(data: bytes | bytearray | memoryview) -> Header:
    """Raises :class:`Corrupt` for an unknown kind, or a body longer than its kind may have."""
    kind, load, body_bytes, first, second = _HEADER.unpack(data)
    if kind not in _BODY_BYTES_MAX or body_bytes > _BODY_BYTES_MAX[kind]:
        raise _bad(f"a frame of kind {kind} with {body_bytes} bytes")
    return Header(kind, body_bytes, first, second, load)


def decode(header: Header, body: bytes) -> Frame:
    """The frame of a header and its whole body. Raises :class:`Corrupt` when they make no sense."""
    match header.kind:
        case 1:
            return _decode_hello(body)
        case 2:
            return Bitmap(header.first, body)
        case 3:
            return Request(tuple(_decode_numbers(body)))
        case 4:
            if not 0 < header.second <= CHUNK_BYTES_MAX:
                raise _bad(f"a chunk of {header.second} bytes")
            return Chunk(header.first, header.second, header.load)
        case 5:
            return Have(_decode_ranges(body), header.load, header.first == 1, header.second)
        case 9:
            return Coming(_decode_ranges(body))
        case 6:
            return Wait()
        case 7:
            return Refused(_decode_code(body), header.first, header.second)
        case _:
            return Bye(_decode_code(body), header.first)


_BODY_BYTES_MAX: Final = {
    HELLO: SWARM_HELLO_BYTES_MAX,
    BITMAP: SWARM_FRAME_BYTES_MAX,
    REQUEST: 4 * _PIECES_PER_REQUEST_MAX,
    CHUNK: 0,
    HAVE: 8 * SWARM_HAVE_PIECES_MAX,
    COMING: 8 * SWARM_HAVE_PIECES_MAX,
    WAIT: 0,
    REFUSED: 64,
    BYE: 64,
}


def _frame(kind: int, body: bytes = b"", first: int = 0, second: int = 0, load: int = 0) -> bytes:
    return _HEADER.pack(kind, min(load, LOAD_MAX), len(body), first, second) + body


def _hello_text(hello: Hello) -> bytes:
    # JSON, so that the next version can add a field and this one ignore it (law 13).
    return json.dumps({name: getattr(hello, name) for name in Hello.__slots__}).encode()


def _decode_hello(body: bytes) -> Hello:
    try:
        fields: Any = json.loads(body)
        text = {name: fields.get(name, "") for name in ("digest", "machine", "ticket", "zone", "rack")}
        numbers = {name: fields.get(name, 0) for name in ("port", "protocol", "coming", "waits")}
    except (ValueError, AttributeError, RecursionError) as error:
        raise _bad("a hello that is no JSON object") from error
    if not all(isinstance(value, str) for value in text.values()):
        raise _bad("a hello whose names are no texts")
    if not all(type(value) is int and 0 <= value < 2**16 for value in numbers.values()):
        raise _bad("a hello whose numbers are none")
    return Hello(**text, **numbers)


def _numbers(numbers: Any) -> bytes:
    values = array("I", numbers)
    if _BIG_ENDIAN:
        values.byteswap()
    return values.tobytes()


def _decode_numbers(body: bytes) -> array[int]:
    if len(body) % 4:
        raise _bad("a list of numbers with a part of one")
    values = array("I")
    values.frombytes(body)
    if _BIG_ENDIAN:
        values.byteswap()
    return values


def _decode_ranges(body: bytes) -> Ranges:
    """A few bytes of ranges can name millions of pieces, each of which costs time under a lock: so they are bounded."""
    numbers = _decode_numbers(body)
    if len(numbers) % 2:
        raise _bad("half a range")
    ranges = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    if any(first > last for first, last in ranges) or sum(last - first for first, last in ranges) > SWARM_HAVE_PIECES_MAX:
        raise _bad(f"news of more than {SWARM_HAVE_PIECES_MAX} pieces at once")
    return ranges


def _decode_code(body: bytes) -> str:
    try:
        return body.decode("ascii")
    except UnicodeDecodeError as error:
        raise _bad("a code that is no text") from error


def _bad(what: str) -> Corrupt:
    return Corrupt("bad_frame", f"the other side sent {what}: it is no peer of this version")


_BIG_ENDIAN: Final = array("I", [1]).tobytes()[0] == 0
assert array("I").itemsize == 4
