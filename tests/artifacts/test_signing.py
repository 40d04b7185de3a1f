"""Only what an installed key signed, unchanged and not contradicting itself, comes out as a root."""

from __future__ import annotations

import base64
import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner, SSlibKey

from fleetcast.artifacts import signing
from fleetcast.model.artifact import ManifestPiece, Root
from fleetcast.model.errors import Corrupt, Invalid
from fleetcast.model.hooks import Hook
from fleetcast.model.ids import ArtifactName, BuildId, CommitSha, Digest, ServiceName
from fleetcast.model.probe import Probe

ROOT = Root(
    artifact=ArtifactName("web/" + "a" * 40),
    service=ServiceName("web"),
    commit_sha=CommitSha("a" * 40),
    build=BuildId(2**53 + 1),
    attempt=2,
    built_at="2026-11-23T04:30:00Z",
    digest=Digest("b" * 64),
    manifest_size=300,
    manifest_pieces=(ManifestPiece(100, "c" * 64), ManifestPiece(200, "d" * 64)),
    content_size=12345,
    content_sha256=Digest("e" * 64),
    files=3,
    chunks=7,
    activate="exec ./server --name \u00fc",
    health="curl -f localhost",
    health_timeout_s=12.5,
    environment={"B": "2", "A": "1"},
)
PROBE = Probe(http="http://127.0.0.1:$PORT/health")


@pytest.fixture
def key(tmp_path: Path) -> signing.PrivateKey:
    signing.generate_key(tmp_path / "worker.key", tmp_path / "worker.pub")
    return signing.load_private(tmp_path / "worker.key")


@pytest.fixture
def public(tmp_path: Path, key: signing.PrivateKey) -> signing.PublicKey:
    return signing.load_public(tmp_path / "worker.pub")


def test_a_signed_root_comes_back(key: signing.PrivateKey, public: signing.PublicKey) -> None:
    envelope = signing.sign_root(ROOT, key)
    assert signing.verify_root(envelope, [public]) == ROOT
    assert signing.verify_root(envelope, [public], signing.envelope_digest(envelope)) == ROOT


def test_any_of_the_installed_keys_will_do(key: signing.PrivateKey, public: signing.PublicKey) -> None:
    other = signing.PrivateKey.generate().public_key()
    assert signing.verify_root(signing.sign_root(ROOT, key), [other, public]) == ROOT
    for keys in ([], [other]):
        with pytest.raises(Corrupt, match="installed worker keys"):
            signing.verify_root(signing.sign_root(ROOT, key), keys)


def test_another_envelope_than_asked_for_is_refused(key: signing.PrivateKey, public: signing.PublicKey) -> None:
    asked_for = signing.envelope_digest(signing.sign_root(replace(ROOT, attempt=1), key))
    with pytest.raises(Corrupt, match="not the one"):
        signing.verify_root(signing.sign_root(ROOT, key), [public], asked_for)


def test_a_changed_payload_is_refused(key: signing.PrivateKey, public: signing.PublicKey) -> None:
    fields = json.loads(signing.sign_root(ROOT, key))
    payload = base64.b64decode(fields["payload"]).replace(b"./server", b"./evil.x")
    fields["payload"] = base64.b64encode(payload).decode()
    with pytest.raises(Corrupt, match="signed it"):
        signing.verify_root(json.dumps(fields), [public])


@pytest.mark.parametrize(
    "envelope", ["", "{}", "[]", "null", '{"payload": 1, "payloadType": "x", "signatures": []}', "\ud83d" * 3]
)
def test_noise_is_refused(envelope: str, public: signing.PublicKey) -> None:
    with pytest.raises(Corrupt):
        signing.verify_root(envelope, [public])


def test_a_signed_contradiction_is_refused(key: signing.PrivateKey, public: signing.PublicKey) -> None:
    honest = json.loads(base64.b64decode(json.loads(signing.sign_root(ROOT, key))["payload"]))
    wrong_subject = {**honest, "subject": [{"name": ROOT.artifact, "digest": {"sha256": "0" * 64}}]}
    wrong_sum = {**honest, "predicate": {**honest["predicate"], "manifest_size": 301}}
    wrong_type = {**honest, "predicateType": "https://slsa.dev/provenance/v1"}
    for statement in (wrong_subject, wrong_sum, wrong_type):
        with pytest.raises(Corrupt):
            signing.verify_root(foreign_envelope(json.dumps(statement).encode(), key), [public])


def test_other_dsse_programs_read_and_write_the_same(key: signing.PrivateKey, public: signing.PublicKey) -> None:
    ours = json.loads(signing.sign_root(ROOT, key))
    their_key = SSlibKey.from_crypto(public, keyid=ours["signatures"][0]["keyid"])
    Envelope.from_dict(ours).verify([their_key], 1)
    assert signing.verify_root(foreign_envelope(base64.b64decode(ours["payload"]), key), [public]) == ROOT


def test_a_root_without_hooks_is_what_it_was_before_there_were_any(key: signing.PrivateKey) -> None:
    statement = json.loads(base64.b64decode(json.loads(signing.sign_root(ROOT, key))["payload"]))
    assert statement["predicateType"] == "urn:fleetcast:artifact-root:v1"
    assert statement["predicate"].keys() == {
        "artifact", "service", "commit_sha", "build", "attempt", "built_at", "digest", "manifest_size", "manifest_pieces",
        "content_size", "content_sha256", "files", "chunks", "activate", "health", "health_timeout_s", "environment",
    }  # fmt: skip


def test_a_root_that_says_more_is_refused_by_who_would_not_do_it(key: signing.PrivateKey, public: signing.PublicKey) -> None:
    root = replace(ROOT, hooks={"pre_activate": Hook("./migrate", 5.0)})
    envelope = signing.sign_root(root, key)
    statement = json.loads(base64.b64decode(json.loads(envelope)["payload"]))
    assert statement["predicateType"] == "urn:fleetcast:artifact-root:v2", "the version before takes v1 alone"
    assert signing.verify_root(envelope, [public]) == root
    root = replace(root, health="", probe=PROBE)
    envelope = signing.sign_root(root, key)
    probed = json.loads(base64.b64decode(json.loads(envelope)["payload"]))
    assert probed["predicateType"] == "urn:fleetcast:artifact-root:v3", "one that knows hooks alone takes v1 and v2"
    assert signing.verify_root(envelope, [public]) == root
    root = replace(root, drain_s=120.0)
    envelope = signing.sign_root(root, key)
    drained = json.loads(base64.b64decode(json.loads(envelope)["payload"]))
    assert drained["predicateType"] == "urn:fleetcast:artifact-root:v4", "others would kill it after ten seconds"
    assert signing.verify_root(envelope, [public]) == root
    statement["predicate"]["hooks"] = {"pre_launch": {"command": "./migrate"}}
    with pytest.raises(Corrupt, match="'pre_launch' is no hook that is known here"):
        signing.verify_root(foreign_envelope(json.dumps(statement).encode(), key), [public])


def test_a_root_that_nobody_would_accept_is_not_signed(key: signing.PrivateKey) -> None:
    for wrong in (
        replace(ROOT, manifest_pieces=()),
        replace(ROOT, environment={"BIG": "x" * 70_000}),
        replace(ROOT, activate="./run\0"),
        replace(ROOT, environment={"A=B": "1"}),
        replace(ROOT, health_timeout_s=1e300),
        replace(ROOT, drain_s=901.0),
        replace(ROOT, drain_s=float("nan")),
        replace(ROOT, chunks=10**15),
        replace(ROOT, hooks={"deactivate": Hook("./drain", float("nan"))}),
        replace(ROOT, hooks={"deactivate": Hook("./drain\0")}),
        replace(ROOT, probe=PROBE),
        replace(ROOT, health="", probe=Probe()),
        replace(ROOT, health="", probe=replace(PROBE, tcp="127.0.0.1:80")),
        replace(ROOT, health="", probe=replace(PROBE, http="https://127.0.0.1/")),
        replace(ROOT, health="", probe=replace(PROBE, interval_s=float("nan"))),
        replace(ROOT, health="", probe=replace(PROBE, threshold=0)),
        replace(ROOT, health="", probe=Probe(unit="web.service; reboot")),
        replace(ROOT, sockets=("127.0.0.1",)),
        replace(ROOT, sockets=("127.0.0.1:80",), activate=""),
        replace(ROOT, health="", probe=PROBE, sockets=("127.0.0.1:80",)),
    ):
        with pytest.raises(Invalid):
            signing.sign_root(wrong, key)


def test_key_files_are_private_and_never_overwritten(tmp_path: Path, key: signing.PrivateKey) -> None:
    assert stat.S_IMODE((tmp_path / "worker.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "worker.pub").stat().st_mode) == 0o644
    with pytest.raises(Invalid, match="not overwritten"):
        signing.generate_key(tmp_path / "worker.key", tmp_path / "new.pub")
    for load, original in ((signing.load_private, "secrets/worker.key"), (signing.load_public, "keys/worker.pub")):
        missing = f"there is no {tmp_path / 'missing'}: copy {original} from the installation's first host"
        with pytest.raises(Invalid, match=missing):
            load(tmp_path / "missing")
    with pytest.raises(Invalid, match="ed25519"):
        signing.load_public(tmp_path / "worker.key")


def foreign_envelope(payload: bytes, key: signing.PrivateKey) -> str:
    envelope = Envelope(payload, signing.PAYLOAD_TYPE, {})
    envelope.sign(CryptoSigner(key))
    return json.dumps(envelope.to_dict())
