"""A machine that systemd runs, beside the one it is made on: process 1 of namespaces of its own, as root.

``python -m lab.systemd COMMAND...`` runs a command in one. Files, network and users are the host's. ``/run`` and the cgroups
are the machine's own: the latter are below a cgroup of the host that is made for it, and removed with everything in it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from lab import commands
from lab.errors import LabError
from lab.limits import END_S_MAX, MACHINE_READY_S_MAX

PROGRAM: Final = Path("/lib/systemd/systemd")
_TARGET: Final = "lab.target"
_OWNED: Final = re.compile(r"fleetlab-(\d+)-\d+")
_LOOK_S: Final = 0.02

# $1 the name of its cgroup, $2 the target, $3 systemd. Nothing of what is mounted here reaches the host. The hierarchy of
# version 2 is mounted twice: once as the host sees it, to go into a cgroup of our own, and then as one sees it from there.
_BEGIN: Final = """
set -e
mount --make-rprivate /
umount --recursive --lazy /sys/fs/cgroup || :
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir /sys/fs/cgroup/$1
echo $$ > /sys/fs/cgroup/$1/cgroup.procs
exec setpriv --pdeathsig=KILL unshare --cgroup --pid --fork --kill-child --uts --ipc --mount --mount-proc /bin/sh -ec '
umount /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/systemd/system /run/lock
printf "[Unit]\\nDefaultDependencies=no\\n" > /run/systemd/system/$1
exec env -i PATH="$PATH" container=other "$2" --system --unit="$1" --log-target=console --log-level=warning --show-status=0
' machine "$2" "$3"
"""
_SEE: Final = "mount --make-rprivate / && mount -t cgroup2 cgroup2 /mnt && "
_CLEAR: Final = _SEE + 'for each; do if [ -d "/mnt/$each" ]; then find "/mnt/$each" -depth -type d -exec rmdir {} +; fi; done'
_LIST: Final = _SEE + "ls /mnt"


class Machine:
    """For as long as its context is open."""

    def __init__(self) -> None:
        self._cgroup = f"fleetlab-{os.getpid()}-{time.monotonic_ns()}"
        self._before: frozenset[str] = frozenset()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 -- closed when the machine ends
        self._begun: subprocess.Popen[bytes] | None = None
        self._init = 0

    def __enter__(self) -> Machine:
        """Raises :class:`LabError`: this host cannot have one."""
        _check()
        _sweep()
        self._before = _host()
        words = ("unshare", "--mount", "/bin/sh", "-c", _BEGIN, "machine", self._cgroup, _TARGET, str(PROGRAM))
        self._begun = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=self._said, stderr=self._said)
        try:
            self._init = self._found()
            self._until_ready()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Raises :class:`LabError`: the host is not as it was."""
        self._end()
        changed = _host() ^ self._before | ({self._cgroup} & set(_as_root_of_cgroups(_LIST).split()))
        if kind is None and changed:
            raise LabError(f"a machine with systemd has changed its host: {sorted(changed)}")

    def command(self, words: Sequence[str]) -> list[str]:
        """What runs a command in it, in the directory and with the environment that it is started with."""
        inside = ("--mount", "--pid", "--cgroup", "--uts", "--ipc", f"--wdns={Path.cwd()}")
        return ["nsenter", f"--target={self._init}", *inside, "--", *words]

    def _found(self) -> int:
        """The process that is systemd."""
        assert self._begun is not None
        end = time.monotonic() + MACHINE_READY_S_MAX
        while time.monotonic() < end and self._begun.poll() is None:
            with contextlib.suppress(OSError):  # it ended in between
                children = Path(f"/proc/{self._begun.pid}/task/{self._begun.pid}/children").read_text().split()
                if children and Path(f"/proc/{children[0]}/comm").read_text() == "systemd\n":
                    return int(children[0])
            time.sleep(_LOOK_S)
        raise LabError(f"systemd does not begin here, which takes cgroups of version 2: {self._last()}")

    def _until_ready(self) -> None:
        end = time.monotonic() + MACHINE_READY_S_MAX
        asking = self.command(["systemctl", "is-active", "--quiet", _TARGET])
        while subprocess.run(asking, check=False, capture_output=True).returncode:
            if time.monotonic() > end:
                raise LabError(f"systemd begins here, and does not come up: {self._last()}")
            time.sleep(_LOOK_S)

    def _last(self) -> str:
        """What was said last of it, in one line."""
        self._said.seek(0)
        return " ".join(self._said.read().decode(errors="replace").split())[-500:]

    def _end(self) -> None:
        assert self._begun is not None
        if self._init:
            # With process 1 of a namespace all others of it are killed.
            os.kill(self._init, signal.SIGKILL)
        else:
            self._begun.kill()
        self._begun.wait(END_S_MAX)
        _as_root_of_cgroups(_CLEAR, self._cgroup)
        self._said.close()


def _as_root_of_cgroups(script: str, *words: str) -> str:
    return commands.run("unshare", "--mount", "/bin/sh", "-ec", script, "machine", *words)


def _sweep() -> None:
    """Remove the cgroups of machines whose lab was killed: everything in them died with it."""
    owned = {name: _OWNED.match(name) for name in _as_root_of_cgroups(_LIST).split()}
    _as_root_of_cgroups(_CLEAR, *(name for name, pid in owned.items() if pid and not Path(f"/proc/{pid[1]}").exists()))


def _check() -> None:
    if os.geteuid() != 0:
        raise LabError("a machine with systemd takes root: run it as root")
    wanted = {"systemctl": "systemd", "unshare": "util-linux", "nsenter": "util-linux", "setpriv": "util-linux"}
    missing = {package for tool, package in wanted.items() if shutil.which(tool) is None}
    if missing or not PROGRAM.exists():
        names = " ".join(sorted(missing | (set() if PROGRAM.exists() else {"systemd"})))
        raise LabError(f"a machine with systemd needs {names}: apt-get install --no-install-recommends {names}")


def _host() -> frozenset[str]:
    """What of this host a systemd would change: how its cgroups are mounted, and where there are some of a systemd's."""
    mounted = [line for line in Path("/proc/self/mounts").read_text().splitlines() if " /sys/" in line]
    scopes = ("find", "/sys/fs/cgroup", "-maxdepth", "2", "-name", "init.scope")
    return frozenset((*mounted, *commands.run(*scopes).splitlines()))


def main(words: Sequence[str]) -> int:
    """The exit code of the command; 1 where there is no such machine, which is said."""
    try:
        with Machine() as machine:
            return subprocess.run(machine.command(words), check=False).returncode
    except LabError as error:
        print(f"lab.systemd: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
