"""The command line that runs a build in a sandbox of bubblewrap. Pure.

What a build sees::

    /usr /bin /lib ... /etc/ssl ...   of this host, read-only: programs and what they need to start, no settings
    /build/tree                       the checkout, where its command starts
    /build/home                       its HOME, empty at first
    /tmp                              its own, empty at first
    the mirror of its repository      read-only at its place, so that git works in the checkout
    what the worker's settings name   read-only at its place (build_readable)

Nothing else of this host is there: a list of what may be seen forgets a secret less easily than one of what may not. It has its
own processes (their first one ends with the worker, and all others with that), its own IPC and host name, and no network but a
loopback of its own, unless its recipe declares one.

A worker that is root lets ``bwrap`` set this up as root and then gives up everything: the command is a user of its slot's own,
without capabilities. Then nothing that only root may read is readable, and the kernel's limit of processes counts this build
alone. Any other worker makes a user namespace, in which the build is nobody but the worker's user.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from fleetcast.model import limits

TREE: Final = "/build/tree"
HOME: Final = "/build/home"
SCRATCH: Final = "/tmp"
USER: Final = "build"
UID_INSIDE: Final = 1000
"""Of a build whose worker is not root."""

SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/sys/devices/system/cpu")
ETC: Final = (
    "alternatives",
    "ca-certificates",
    "crypto-policies",
    "debian_version",
    "host.conf",
    "hosts",
    "java",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "nsswitch.conf",
    "os-release",
    "pki",
    "protocols",
    "resolv.conf",
    "services",
    "ssl",
    "timezone",
)
"""Below ``/etc``: how programs find libraries, names, certificates and the time. Nothing in it says who may do what."""


@dataclass(frozen=True, slots=True)
class BuildLimits:
    """What one build may use."""

    memory_bytes: int = limits.BUILD_MEMORY_BYTES_MAX
    processes: int = limits.BUILD_PROCESSES_MAX
    disk_bytes: int = limits.BUILD_DISK_BYTES_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """Programs of this host, by absolute path. All but ``bwrap`` are run inside, so they are below :data:`SYSTEM`."""

    bwrap: str
    prlimit: str
    setpriv: str
    env: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """What is the same for all builds of a worker."""

    tools: Tools
    uid_first: int | None
    """Of the users that builds are, one for each slot; ``None``: the worker is not root, builds are its own user."""
    system: Sequence[tuple[str, str | None]]
    """Those of :data:`SYSTEM` that are there; the second is where a symlink leads."""
    open_files: int = limits.BUILD_OPEN_FILES_MAX
    readable: Sequence[str] = ()
    """Shown beside the system, at their places."""
    hidden_files: Sequence[str] = ()
    """Keys, tokens and settings: hidden wherever something above them is shown."""
    hidden_directories: Sequence[str] = ()
    limits: BuildLimits = field(default_factory=BuildLimits)

    def uid(self, slot: int) -> int | None:
        """The host's user that a slot's builds are; ``None``: the worker's."""
        return None if self.uid_first is None else self.uid_first + slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Directories of one attempt on the host."""

    tree: str
    home: str
    scratch: str
    accounts: str
    """``passwd`` and ``group`` as the build sees them are in here."""
    mirror: str | None = None


def sandboxed(
    sandbox: Sandbox,
    places: Places,
    command: Sequence[str],
    *,
    slot: int,
    environment: Mapping[str, str],
    network: bool,
) -> list[str]:
    """The program and its arguments that run ``command`` inside. ``environment`` is all that the command sees.

    It is set by the last step before the command: what a recipe says must not steer the steps that still have rights.
    """
    uid = sandbox.uid(slot)
    shown = [
        *(path for path, link in sandbox.system if link is None),
        *sandbox.readable,
        *([places.mirror] if places.mirror else []),
    ]
    return [
        sandbox.tools.bwrap,
        *_namespaces(network=network, as_root=uid is not None),
        *_system(sandbox),
        *_accounts(places),
        *_own_devices(),
        *_writable(places),  # before what may have its place below one of these
        *_readable(sandbox.readable),
        *_hidden(sandbox, shown),
        *(_readable([places.mirror]) if places.mirror else ()),
        *_closed(sandbox, shown),
        "--chdir",
        TREE,
        "--",
        *_bounded(sandbox),
        *_without_rights(sandbox.tools, uid),
        sandbox.tools.env,
        "-i",
        *(f"{name}={value}" for name, value in environment.items()),
        *command,
    ]


def passwd(uid: int) -> str:
    """The accounts that a build sees: root, itself, and nobody."""
    return (
        "root:x:0:0:root:/:/usr/sbin/nologin\n"
        f"{USER}:x:{uid}:{uid}:{USER}:{HOME}:/bin/sh\n"
        "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
    )


def group(uid: int) -> str:
    return f"root:x:0:\n{USER}:x:{uid}:\nnogroup:x:65534:\n"


def _namespaces(*, network: bool, as_root: bool) -> Iterable[str]:
    # --die-with-parent: a killed worker leaves nothing behind. --new-session: nothing can be typed into its terminal.
    yield from ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--die-with-parent", "--new-session")
    yield from ("--hostname", USER, "--clearenv")
    if not network:
        yield "--unshare-net"
    if not as_root:
        yield from ("--unshare-user", "--uid", str(UID_INSIDE), "--gid", str(UID_INSIDE), "--cap-drop", "ALL")


def _system(sandbox: Sandbox) -> Iterable[str]:
    for path, link in sandbox.system:
        if link is not None:
            yield from ("--symlink", link, path)
        else:
            yield from (*_parents(path), "--ro-bind", path, path)
    yield from _parents("/etc/any")
    for name in ETC:
        yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")


def _accounts(places: Places) -> Iterable[str]:
    for name in ("passwd", "group"):
        yield from ("--ro-bind", f"{places.accounts}/{name}", f"/etc/{name}")


def _own_devices() -> Iterable[str]:
    yield from ("--proc", "/proc", "--dev", "/dev")
    yield from ("--perms", "1777", "--size", str(limits.BUILD_SHARED_MEMORY_BYTES_MAX), "--tmpfs", "/dev/shm")
    # Both are memory of this host, and would hold as much as somebody writes.
    yield from ("--remount-ro", "/dev")
    yield from ("--perms", "0755", "--dir", "/run", *_parents("/var/tmp"), "--symlink", SCRATCH, "/var/tmp")


def _readable(paths: Iterable[str]) -> Iterable[str]:
    for path in paths:
        yield from (*_parents(path), "--ro-bind", path, path)


def _hidden(sandbox: Sandbox, shown: Sequence[str]) -> Iterable[str]:
    """Covers for what lies below something shown. What is not shown needs none, and could not have one."""
    for path in sandbox.hidden_directories:
        if _below_any(path, shown):
            yield from ("--perms", "0755", "--tmpfs", path)
    for path in sandbox.hidden_files:
        if _below_any(path, shown) and not _below_any(path, sandbox.hidden_directories):
            yield from ("--ro-bind", "/dev/null", path)


def _writable(places: Places) -> Iterable[str]:
    for source, inside in ((places.tree, TREE), (places.home, HOME), (places.scratch, SCRATCH)):
        yield from (*_parents(inside), "--bind", source, inside)


def _closed(sandbox: Sandbox, shown: Sequence[str]) -> Iterable[str]:
    """What was memory of this host to build the rest on."""
    for path in (*sandbox.hidden_directories, "/"):
        if path == "/" or _below_any(path, shown):
            yield from ("--remount-ro", path)


def _bounded(sandbox: Sandbox) -> Iterable[str]:
    """Limits of the kernel, each for one process but that of processes: with a user or a user namespace of its own, it counts
    the build. They hold between two looks of the worker, which knows the sums (``usage.py``)."""
    bounds = sandbox.limits
    yield sandbox.tools.prlimit
    yield from (f"--nproc={bounds.processes}", f"--data={bounds.memory_bytes}", f"--fsize={bounds.disk_bytes}")
    yield from (f"--nofile={sandbox.open_files}", "--core=0")


def _without_rights(tools: Tools, uid: int | None) -> Iterable[str]:
    if uid is None:
        return
    yield from (tools.setpriv, f"--reuid={uid}", f"--regid={uid}", "--clear-groups")
    yield from ("--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs")


def _parents(path: str) -> Iterable[str]:
    """Directories on the way to a mount, readable for everybody: bubblewrap's own are for root alone."""
    parts = path.split("/")[1:-1]
    for count in range(1, len(parts) + 1):
        yield from ("--perms", "0755", "--dir", "/" + "/".join(parts[:count]))


def _below_any(path: str, directories: Iterable[str]) -> bool:
    return any(path == directory or path.startswith(f"{directory.rstrip('/')}/") for directory in directories)
