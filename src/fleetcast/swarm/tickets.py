"""Tickets: with one a peer shows another that its region lets this machine fetch this artifact.

A ticket is ``version.digest.machine.expiry.signature``: the expiry in UTC seconds, the signature ed25519 over all before it,
base64url. Peers check it against the public key that their region told them with their goals.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fleetcast.model.errors import Forbidden, Invalid
from fleetcast.model.ids import Digest, MachineId

_VERSION: Final = "1"


@dataclass(frozen=True, slots=True)
class Ticket:
    digest: Digest
    machine: MachineId
    expires_at_s: int
    """UTC, seconds."""


def sign(key: Ed25519PrivateKey, ticket: Ticket) -> str:
    """The ticket as text."""
    claim = _claim(ticket.digest, ticket.machine, str(ticket.expires_at_s))
    return f"{claim}.{base64.urlsafe_b64encode(key.sign(claim.encode())).decode()}"


def check(key: Ed25519PublicKey, text: str, digest: Digest, now_s: float) -> Ticket:
    """The ticket, if it is for this artifact, signed with this key's other half and not over at ``now_s`` (UTC).

    Raises :class:`Forbidden` otherwise.
    """
    version, _, rest = text.partition(".")
    parts = rest.split(".")
    if version != _VERSION or len(parts) != 4:
        raise _refused("bad_ticket", "it is no ticket of this version")
    claim = _claim(parts[0], parts[1], parts[2])
    try:
        key.verify(base64.b64decode(parts[3], altchars=b"-_", validate=True), claim.encode())
        ticket = Ticket(Digest(parts[0]), MachineId(parts[1]), int(parts[2]))
    except (InvalidSignature, binascii.Error, ValueError) as error:
        raise _refused("bad_ticket", "this region did not sign it") from error
    if ticket.digest != digest:
        raise _refused("bad_ticket", "it is for another artifact")
    if now_s >= ticket.expires_at_s:
        raise _refused("ticket_expired", "it is over")
    return ticket


def public_hex(key: Ed25519PrivateKey) -> str:
    """The key to hand to agents as ``GoalsReply.ticket_key``."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def public_key(text: str) -> Ed25519PublicKey:
    """The other way round. Raises :class:`Invalid`."""
    try:
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))
    except ValueError as error:
        raise Invalid("illegal_ticket_key", "the region's ticket key is not an ed25519 public key in hex") from error


def _claim(digest: str, machine: str, expires_at_s: str) -> str:
    return f"{_VERSION}.{digest}.{machine}.{expires_at_s}"


def _refused(code: str, reason: str) -> Forbidden:
    return Forbidden(code, f"the swarm ticket was refused: {reason}; announce again for a new one")
