"""``fleetcast artifact``: what builds made, and taking it out."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from fleetcast.cli import commits
from fleetcast.cli.connection import NO_CONNECTION, Connection
from fleetcast.cli.output import counted, print_json, short, size, when
from fleetcast.cli.terminal import print_table
from fleetcast.model.errors import FleetcastError, Invalid, Refused
from fleetcast.model.limits import PAGE_ITEMS
from fleetcast.model.retention import Tier

if TYPE_CHECKING:
    from fleetcast.artifacts.comparing import Difference
    from fleetcast.artifacts.manifest import Manifest
    from fleetcast.client.control import ControlClient
    from fleetcast.model.artifact import Root
    from fleetcast.model.ids import ArtifactName
    from fleetcast.model.messages.artifacts import Artifact, ArtifactDetail
    from fleetcast.model.messages.regions import SourceGrants
    from fleetcast.replication.reader import ArtifactReader

DIFFERENCES_SHOWN_MAX: Final = 20
STDOUT: Final = "-"
_ENDED: Final = (signal.SIGTERM, signal.SIGHUP)


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whose signature counts."""

    key: tuple[Path, ...] = ()
    """File with the public key of a worker whose signature counts; repeatable. Default: those that the settings name."""
    unsigned: bool = False
    """Do not ask who signed it: only that all of it belongs together."""

    def root(self, envelope: str, connection: Connection) -> Root:
        """What the envelope says. Raises :class:`Corrupt` for a wrong signature, :class:`Refused` where no key is known."""
        from fleetcast.artifacts.signing import load_public, unverified_root, verify_root

        if self.unsigned:
            return unverified_root(envelope)
        keys = tuple(map(load_public, self.key or connection.worker_keys()))
        if not keys:
            raise Refused(
                "no_worker_key",
                "whose signature counts? No worker's public key is known here: pass --key FILE (keys/worker.pub of the "
                "installation), --settings FILE, or --unsigned to go without",
            )
        return verify_root(envelope, keys)


@dataclass(frozen=True, slots=True)
class Exported:
    """What ``artifact export`` did, as JSON."""

    artifact: ArtifactName
    digest: str
    files: int
    content_bytes: int
    signed: bool
    """Whether the signature was verified."""
    path: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What ``artifact verify`` found, as JSON."""

    artifact: ArtifactName
    digest: str
    files: int
    content_bytes: int
    signed: bool
    place: str
    ok: bool
    different: int
    differences: tuple[Difference, ...]
    """The first ``DIFFERENCES_SHOWN_MAX``."""


ANY_WORKER = Trust()


def list_artifacts(
    service: str = "",
    *,
    limit: int = PAGE_ITEMS,
    after: str = "",
    json: bool = False,
    connection: Connection = NO_CONNECTION,
) -> None:
    """List artifacts, newest first.

    For example: `fleetcast artifact list web --limit 10`

    Parameters
    ----------
    service
        Only this service's.
    limit
        How many.
    after
        Where the list before this one ended; it says so.
    json
        Print the page as JSON.
    """
    from fleetcast.model.ids import ServiceName

    wanted = ServiceName(service) if service else None
    page = connection.ask(lambda control: control.artifact_page(service=wanted, after=after, limit=limit))
    if json:
        print_json(page)
        return
    if not page.items:
        print("no artifacts; next: fleetcast build SERVICE@REV" if not after else "no more artifacts")
        return
    rows = [
        [
            _short_name(item),
            str(item.build),
            size(item.content_bytes),
            when(item.created_at_ms),
            "yes" if item.deployable else "no",
            _kept(item),
            short(item.digest),
        ]
        for item in page.items
    ]
    print_table(["ARTIFACT", "BUILD", "SIZE", "BUILT", "DEPLOYABLE", "KEPT", "DIGEST"], rows)
    if page.next is not None:
        print(f"more: fleetcast artifact list{f' {service}' if service else ''} --after {page.next}", file=sys.stderr)


def show(name: str, *, json: bool = False, connection: Connection = NO_CONNECTION) -> None:
    """Show an artifact's signed statement, and where its copies are.

    For example: `fleetcast artifact show web@main`

    Parameters
    ----------
    name
        SERVICE@REV or SERVICE/SHA; SHA.2 for the first rebuild.
    json
        Print it as JSON, the statement as the builder signed it.
    """
    from fleetcast.artifacts.signing import unverified_root

    _, detail = connection.ask(lambda control: _look(control, name, "show", quiet=json))
    if json:
        print_json(detail)
        return
    root = unverified_root(detail.envelope)
    print(f"{detail.name}: {'complete in every bucket, deployable' if detail.deployable else 'not yet in every bucket'}")
    if detail.pinned:
        print("  pinned: it is never collected")
    print(f"  built: {root.built_at} by build {root.build}, attempt {root.attempt}")
    content = f"{size(root.content_size)} in {counted(root.chunks, 'chunk')}"
    print(f"  holds: {counted(root.files, 'file')}, {content}, digest {root.digest}")
    for part in ("activate", "health"):
        if said := getattr(root, part):
            print(f"  {part}: {said}")
    if detail.replicas:
        print_table(["BUCKET", "COPY", "WAITS FOR"], [[copy.bucket, copy.status, copy.reason] for copy in detail.replicas])
    elif detail.collected == Tier.MAIN:
        again = f"fleetcast deploy {root.service}@{root.commit_sha} --rebuild builds it again"
        print(f"  collected: {detail.collected_why}; next: {again}")
    elif detail.collected == Tier.REGIONS:
        print("  in the main store only: its copies were collected, its next deployment makes them again")
    elif not detail.deployable:
        print("  in the main store only: its first deployment copies it")


def export(
    what: str,
    directory: Path | None = None,
    *,
    tar: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    trust: Annotated[Trust, Parameter(name="*")] = ANY_WORKER,
    json: bool = False,
    connection: Connection = NO_CONNECTION,
) -> None:
    """Take an artifact out of the main store: its signature and every chunk are verified before it has its name.

    For example: `fleetcast artifact export web@main /tmp/web`, or `fleetcast artifact export web@main --tar - | tar -tv`

    Parameters
    ----------
    what
        SERVICE@REV or SERVICE/SHA.
    directory
        Where to put its files: a directory that is empty or not there yet.
    tar
        Write a tar to this file instead; - for standard output.
    json
        Print what was exported as JSON.
    """
    from fleetcast.artifacts import exporting

    if (directory is None) == (tar is None):
        raise Invalid("no_target", "export where to? Name a directory, or --tar FILE (- for standard output)")
    if tar == STDOUT and (json or sys.stdout.isatty()):
        raise Invalid("no_target", "a tar on standard output needs it for itself: redirect it, and leave out --json")
    target = Path(tar or directory or "").expanduser()
    if tar != STDOUT:
        exporting.check_target(target)
    with _ending_cleanly(), _opened(what, "export", trust, connection, quiet=json or tar == STDOUT) as opened:
        content = _shown(opened.reader.content(opened.manifest), opened.root.content_size)
        if tar is None:
            exporting.to_directory(opened.manifest, content, target)
        elif tar == STDOUT:
            _to_stdout(opened.manifest, content)
        else:
            exporting.to_tar_file(opened.manifest, content, target)
    root = opened.root
    if json:
        print_json(
            Exported(root.artifact, root.digest, root.files, root.content_size, not trust.unsigned, str(target.absolute()))
        )
        return
    where, assurance = "standard output" if tar == STDOUT else str(target), _assurance(signed=not trust.unsigned)
    print(
        f"{root.artifact}: {counted(root.files, 'file')}, {size(root.content_size)} to {where}, {assurance}",
        file=sys.stderr if tar == STDOUT else None,
    )


def verify(
    what: str,
    *,
    path: Path | None = None,
    trust: Annotated[Trust, Parameter(name="*")] = ANY_WORKER,
    json: bool = False,
    connection: Connection = NO_CONNECTION,
) -> int:
    """Verify an artifact in the main store, or a directory with its files on this host. Nothing is written.

    For example: `fleetcast artifact verify web@main`, or `fleetcast artifact verify web@main --path /tmp/web`

    Parameters
    ----------
    what
        SERVICE@REV or SERVICE/SHA.
    path
        An export, or a release on a machine (the tree in it), to compare with the signed manifest.
    json
        Print what was found as JSON.
    """
    from fleetcast.artifacts.comparing import differences, wrong_contents

    found: list[Difference] = []
    count = 0
    with _ending_cleanly(), _opened(what, "verify", trust, connection, quiet=json) as opened:
        if path is not None:
            wrong = differences(opened.manifest, path.expanduser())
        else:
            bad = (index for window in opened.reader.windows(opened.manifest) for index in window.bad_chunks)
            wrong = wrong_contents(opened.manifest, bad)
        for difference in wrong:
            count += 1
            if count <= DIFFERENCES_SHOWN_MAX:
                found.append(difference)
    root, place = opened.root, str(path) if path is not None else "the main store"
    result = Verified(
        artifact=root.artifact,
        digest=root.digest,
        files=root.files,
        content_bytes=root.content_size,
        signed=not trust.unsigned,
        place=place,
        ok=count == 0,
        different=count,
        differences=tuple(found),
    )
    print_json(result) if json else print(_verified_text(result))
    return 1 if count else 0


@dataclass(frozen=True, slots=True)
class _Opened:
    """An artifact found, its statement checked, its manifest read: ready to read its content."""

    root: Root
    manifest: Manifest
    reader: ArtifactReader


@contextlib.contextmanager
def _opened(what: str, command: str, trust: Trust, connection: Connection, *, quiet: bool) -> Iterator[_Opened]:
    from fleetcast.replication.reader import ArtifactReader

    name, detail = connection.ask(lambda control: _look(control, what, command, quiet=quiet))
    root = trust.root(detail.envelope, connection)
    if root.artifact != name:
        raise Refused("wrong_root", f"control says that {name} is {root.artifact}: somebody mixed them up")

    def grants() -> SourceGrants:
        return connection.ask(lambda control: control.artifact_source(name))

    with ArtifactReader(root, grants) as reader:
        yield _Opened(root, reader.manifest(), reader)


@contextlib.contextmanager
def _ending_cleanly() -> Iterator[None]:
    """While a file is half written, a signal that ends us is an interruption: what is there is removed first."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in _ENDED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def _look(control: ControlClient, what: str, command: str, *, quiet: bool) -> tuple[ArtifactName, ArtifactDetail]:
    name = await commits.artifact(control, commits.parse_artifact(what, command), quiet=quiet)
    return name, await control.artifact(name)


def _verified_text(result: Verified) -> str:
    head = f"{result.artifact} in {result.place}"
    if result.ok:
        return f"{head}: {counted(result.files, 'file')}, {size(result.content_bytes)}, {_assurance(signed=result.signed)}"
    lines = [f"{head}: {counted(result.different, 'difference')}"]
    lines += [f"  {difference.path} {difference.what}" for difference in result.differences]
    more = result.different - len(result.differences)
    return "\n".join([*lines, f"  and {more} more"] if more else lines)


def _short_name(item: Artifact) -> str:
    """As these commands understand it: ``web@7e583c86d2de``, with ``.2`` for the first rebuild."""
    _, dot, number = item.name.rpartition("/")[2].partition(".")
    return f"{item.service}@{short(item.commit_sha)}{dot}{number}"


def _kept(item: Artifact) -> str:
    """Where it is kept, but for what is where it should be."""
    words = {None: "", Tier.REGIONS: "main store only", Tier.MAIN: "collected"}
    return "pinned" if item.pinned else words[item.collected]


def _to_stdout(manifest: Manifest, content: Iterator[memoryview]) -> None:
    from fleetcast.artifacts.exporting import to_tar

    try:
        to_tar(manifest, content, sys.stdout.buffer)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise FleetcastError("cannot_write", f"cannot write to standard output: {error.strerror}") from None


def _shown(content: Iterator[memoryview], total: int) -> Iterator[memoryview]:
    """The same, with a line on a terminal that says how far it is."""
    done, tell = 0, sys.stderr.isatty()
    for piece in content:
        yield piece
        done += len(piece)
        if tell:
            sys.stderr.write(f"\r\x1b[K{size(done)} of {size(total)}")
            sys.stderr.flush()
    if tell:
        sys.stderr.write("\r\x1b[K")


def _assurance(*, signed: bool) -> str:
    return "signature and every chunk verified" if signed else "whole, but nobody's signature was asked for"
