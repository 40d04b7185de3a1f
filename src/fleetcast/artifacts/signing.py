"""The signed root: a DSSE envelope around an in-toto statement about one artifact, signed with ed25519.

The envelope and its pre-authentication encoding are written out here, on ``cryptography`` alone: they are a few lines, and
verification then tries every installed key, as DSSE asks, where ready-made readers insist on matching key ids. A test
checks the format against an independent implementation.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from fleetcast.artifacts.manifest import CHUNK_DIGEST_BYTES, Manifest, decode, manifest_digest
from fleetcast.model import ids
from fleetcast.model.artifact import Root
from fleetcast.model.build import Recipe, broken_recipe
from fleetcast.model.errors import Corrupt, Invalid
from fleetcast.model.ids import Digest
from fleetcast.model.limits import (
    ARTIFACT_CONTENT_BYTES_MAX,
    CHUNK_BYTES_MAX,
    MANIFEST_BYTES_MAX,
    MANIFEST_PIECES_MAX,
    ROOT_ENVELOPE_BYTES_MAX,
)

PublicKey = Ed25519PublicKey
PrivateKey = Ed25519PrivateKey

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPES: Final = tuple(f"urn:fleetcast:artifact-root:v{version}" for version in (1, 2, 3, 4))
"""Versions of what a root may say, the oldest first. Each root is of the oldest one that knows all its fields, so that it is
what it was before there were others. A program that is too old for a version refuses it, instead of running the release without
what it says."""
_SINCE: Final = {"hooks": 2, "probe": 3, "sockets": 3, "user": 3, "drain_s": 4}
"""Fields by the version that has them first; left out where they say nothing."""


def generate_key(private: Path, public: Path) -> None:
    """Make an ed25519 key pair, PEM: ``private`` with mode 0600, ``public`` with 0644, whatever the umask.

    Raises:
        Invalid: one of the files exists already; keys are never overwritten.
    """
    key = Ed25519PrivateKey.generate()
    _write_new(private, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    _write_new(public, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644)


def load_private(path: Path) -> PrivateKey:
    """Raises :class:`Invalid` when the file is missing or no ed25519 private key."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _no_key("private", path, error) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key("private", path, "another kind of key")
    return key


def load_public(path: Path) -> PublicKey:
    """Raises :class:`Invalid` when the file is missing or no ed25519 public key."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise _no_key("public", path, error) from error
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key("public", path, "another kind of key")
    return key


def key_id(key: PublicKey) -> str:
    """SHA-256 of the public key's DER encoding, hex. A hint for people; nothing is decided by it."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def sign_root(root: Root, key: PrivateKey) -> str:
    """The envelope's JSON text.

    Raises:
        Invalid: it would exceed ``ROOT_ENVELOPE_BYTES_MAX``, or says something that no root may say.
    """
    broken = _broken_root(root)
    if broken is not None:
        raise Invalid("invalid_root", f"this root cannot be signed: {broken}")
    predicate = msgspec.to_builtins(root)
    for name in _SINCE:
        if not predicate[name]:
            del predicate[name]
    version = max((_SINCE[name] for name in _SINCE if name in predicate), default=1)
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": root.artifact, "digest": {"sha256": root.digest}}],
        "predicateType": PREDICATE_TYPES[version - 1],
        "predicate": predicate,
    }
    payload = msgspec.json.encode(statement, order="sorted")
    signature = {"keyid": key_id(key.public_key()), "sig": _base64(key.sign(_pae(payload)))}
    envelope = {"payloadType": PAYLOAD_TYPE, "payload": _base64(payload), "signatures": [signature]}
    text = msgspec.json.encode(envelope).decode()
    if len(text) > ROOT_ENVELOPE_BYTES_MAX:
        raise Invalid(
            "root_too_large",
            f"the signed root has {len(text)} bytes, more than {ROOT_ENVELOPE_BYTES_MAX}: "
            "shorten the recipe's commands and environment",
        )
    return text


def verify_root(envelope: str, keys: Sequence[PublicKey], expected: Digest | None = None) -> Root:
    """The root that one of ``keys`` signed. ``expected`` is the digest the envelope was asked for by, if it was.

    Raises:
        Corrupt: another envelope than ``expected``, malformed, signed by none of ``keys``, or contradicting itself.
    """
    if len(envelope) > ROOT_ENVELOPE_BYTES_MAX:
        raise _corrupt(f"it is longer than {ROOT_ENVELOPE_BYTES_MAX} bytes")
    if expected is not None and envelope_digest(envelope) != expected:
        raise _corrupt(f"it is not the one with digest {expected}")
    return _stated(_verified_payload(envelope, keys))


def unverified_root(envelope: str) -> Root:
    """What an envelope says, whoever signed it. Only for somebody who asked for exactly that. Raises as :func:`verify_root`."""
    if len(envelope) > ROOT_ENVELOPE_BYTES_MAX:
        raise _corrupt(f"it is longer than {ROOT_ENVELOPE_BYTES_MAX} bytes")
    return _stated(_opened(envelope)[0])


def verified_manifest(root: Root, encoded: bytes) -> Manifest:
    """The manifest that a root speaks of. Raises :class:`Corrupt` when ``encoded`` is another one."""
    if manifest_digest(encoded) != root.digest:
        raise Corrupt("corrupt_manifest", f"the manifest of {root.artifact} has another digest than its signed root says")
    manifest = decode(encoded)
    if (manifest.content_size, manifest.content_sha256) != (root.content_size, root.content_sha256):
        raise Corrupt("corrupt_manifest", f"the manifest of {root.artifact} describes another content than its signed root")
    return manifest


def _stated(payload: bytes) -> Root:
    try:
        statement: Any = msgspec.json.decode(payload)
        subjects = [(subject["name"], subject["digest"]["sha256"]) for subject in statement["subject"]]
        kind, predicate = statement["_type"], statement["predicateType"]
        root = msgspec.convert(statement["predicate"], Root)
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        raise _corrupt(f"its statement is malformed ({error})") from error
    if kind != STATEMENT_TYPE or predicate not in PREDICATE_TYPES:
        raise _corrupt(f"it is a statement about something else, or of a newer version of Fleetcast ({predicate})")
    if subjects != [(root.artifact, root.digest)]:
        raise _corrupt("its subject is not its artifact")
    broken = _broken_root(root)
    if broken is not None:
        raise _corrupt(broken)
    return root


def envelope_digest(envelope: str) -> Digest:
    """SHA-256 of the envelope's text in UTF-8: the name under which a root is asked for."""
    return Digest(hashlib.sha256(envelope.encode("utf-8", "surrogatepass")).hexdigest())


def _verified_payload(envelope: str, keys: Sequence[PublicKey]) -> bytes:
    payload, signatures = _opened(envelope)
    signed = _pae(payload)
    if not any(_signed_by(key, signature, signed) for signature in signatures for key in keys):
        raise _corrupt("none of the installed worker keys signed it; if a worker is new, install its public key here")
    return payload


def _opened(envelope: str) -> tuple[bytes, list[bytes]]:
    """Payload and signatures."""
    try:
        fields: Any = msgspec.json.decode(envelope)
        payload = base64.b64decode(fields["payload"], validate=True)
        signatures = [base64.b64decode(signature["sig"], validate=True) for signature in fields["signatures"]]
        payload_type = fields["payloadType"]
    except (msgspec.MsgspecError, KeyError, TypeError, binascii.Error, ValueError) as error:
        raise _corrupt(f"it is no DSSE envelope ({error})") from error
    if payload_type != PAYLOAD_TYPE:
        raise _corrupt(f"its payload is {payload_type!r}, not {PAYLOAD_TYPE}")
    return payload, signatures


def _signed_by(key: PublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        key.verify(signature, signed)
    except InvalidSignature:
        return False
    return True


def _pae(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: what is signed names its own type and lengths."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _broken_root(root: Root) -> str | None:
    """What no root may say, in one line; ``None`` when all is well."""
    try:
        ids.digest(root.digest)
        ids.digest(root.content_sha256)
        ids.service_name(root.service)
        ids.commit_sha(root.commit_sha)
        for piece in root.manifest_pieces:
            ids.digest(piece.blake3)
    except Invalid as error:
        return error.message
    if not 0 < len(root.manifest_pieces) <= MANIFEST_PIECES_MAX:
        return f"a manifest has 1 to {MANIFEST_PIECES_MAX} pieces, not {len(root.manifest_pieces)}"
    if any(not 0 < piece.length <= CHUNK_BYTES_MAX for piece in root.manifest_pieces):
        return f"a piece of a manifest has 1 to {CHUNK_BYTES_MAX} bytes"
    if sum(piece.length for piece in root.manifest_pieces) != root.manifest_size or root.manifest_size > MANIFEST_BYTES_MAX:
        return "the manifest's pieces do not add up to its size"
    if not 0 <= root.content_size <= ARTIFACT_CONTENT_BYTES_MAX or root.files < 0 or root.chunks < 0:
        return "a size or count is out of bounds"
    if root.chunks * CHUNK_DIGEST_BYTES > root.manifest_size:
        return "it has more chunks than its manifest has room for"
    return broken_recipe(
        Recipe(
            activate=root.activate,
            health=root.health,
            health_timeout_s=root.health_timeout_s,
            environment=root.environment,
            hooks=root.hooks,
            probe=root.probe,
            sockets=root.sockets,
            user=root.user or None,
            drain_s=root.drain_s or None,
        )
    )


def _write_new(path: Path, data: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise Invalid("key_exists", f"{path} exists already: move it away first, keys are not overwritten") from error
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _no_key(kind: str, path: Path, reason: object) -> Invalid:
    original = "keys/worker.pub" if kind == "public" else "secrets/worker.key"
    advice = f"copy {original} from the installation's first host"
    if isinstance(reason, FileNotFoundError):
        return Invalid("not_a_key", f"there is no {path}: {advice}")
    if kind == "private":
        advice = "put the right file there"  # a region's own, too
    said = reason.strerror if isinstance(reason, OSError) else reason
    return Invalid("not_a_key", f"{path} is no ed25519 {kind} key in PEM ({said}): {advice}")


def _corrupt(reason: str) -> Corrupt:
    return Corrupt("corrupt_root", f"this signed root cannot be used: {reason}")
