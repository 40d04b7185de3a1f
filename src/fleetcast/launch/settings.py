"""What an operator may choose: one TOML file, environment, flags; a later one wins.

The file describes what runs on this host: one ``[control]`` table and any number of ``[[worker]]``, ``[[region]]`` and
``[[agent]]`` tables. Paths are relative to the file. What several processes need is said once: an agent finds its region's
address, and a worker or region control's, in the same file unless its own table names another. How the sources come together is
in ``sources.py``, how rooms get their configurations from this in ``wiring.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from fleetcast.control.choices import ControlChoices
from fleetcast.model import limits
from fleetcast.model.errors import Invalid, NotFound
from fleetcast.stores.rates import UNLIMITED

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlSettings(ControlChoices):
    """``[control]``: the global process. Times in seconds."""

    host: str = LOOPBACK
    """Address to listen on. Anything but loopback opens the installation to the network."""
    port: int = 7401
    """Of the API; 0 picks a free one."""
    url: str = ""
    """How others reach the API; empty: from host and port."""
    data_port: int = 7402
    """Where the main store's bulk data is served from, on the same host."""
    data_url: str = ""
    """How workers and regions reach that port; empty: by its host and port."""
    directory: Path = Path("control")
    """Databases and the main blob store, as far as they are not elsewhere."""
    store_url: str = ""
    """The main blob store, if it is S3-compatible: ``s3://BUCKET/PREFIX?endpoint=https://HOST&region=NAME``, without secrets;
    empty: in ``directory``."""
    store_credentials_file: Path = Path()
    """File with ``[default]``, ``aws_access_key_id = ...`` and ``aws_secret_access_key = ...``, mode 0600; empty: they
    are in the environment, or the role's of the host."""
    secrets: Path = Path("secrets")
    """One token file for each role."""
    database_url: str = ""
    """``postgresql+psycopg://USER:PASSWORD@HOST:PORT/NAME``; empty: SQLite in ``directory``."""
    database_url_file: Path = Path()
    """File with that URL in one line, mode 0600, for one with a password; empty: ``database_url`` says it."""
    notice_database_url: str = ""
    """Of the same database past a pooler, to be told of builds (LISTEN); its user, unless it names one; empty: the other."""
    replication_database_url: str = ""
    """Of the replication status; empty: the same database."""
    kv_url: str = ""
    """``etcd://HOST:2379,HOST:2379,HOST:2379/PREFIX``, ``etcds:`` for TLS: the global key-value store; empty: SQLite in
    ``directory``."""
    kv_user_file: Path = Path()
    """File with ``USER:PASSWORD`` of etcd in one line, mode 0600; empty: no user."""
    kv_ca_file: Path = Path()
    """File with the authority of etcd's certificates, PEM; empty: the system's."""
    kv_certificate_file: Path = Path()
    """File with the certificate that etcd is shown, PEM; empty: none."""
    kv_key_file: Path = Path()
    """File with the key of that certificate, PEM, mode 0600."""
    worker_public_keys: tuple[Path, ...] = (Path("keys/worker.pub"),)
    """Builders whose signature is accepted."""

    @property
    def public_url(self) -> str:
        return self.url or f"http://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """A ``[[worker]]``: builds, one in each slot."""

    name: str = "worker-1"
    """Shown with its builds; of this host only one may have it."""
    control_url: str = ""
    """Empty: the file's ``[control]``."""
    token_file: Path = Path("secrets/worker.token")
    """File with the worker's token."""
    signing_key: Path = Path("secrets/worker.key")
    """File with the private key that signs artifacts."""
    directory: Path = Path()
    """Mirrors and worktrees; empty: ``workers/<name>``."""
    poll_interval_s: float = limits.CLAIM_POLL_INTERVAL_S
    """How often it asks for builds where control does not hold the question. Seconds."""
    slots: int = 1
    """Builds at a time."""
    drain_s_max: float = limits.DRAIN_S_MAX
    """How long it goes on with what runs when it is told to stop; the rest is handed back. Under `fleetcast up` that is done
    at once."""
    sandbox: Literal["auto", "required", "off"] = "auto"
    """`auto`: builds run in a sandbox of bubblewrap where this host can, else without one, which is said; `required`: or the
    worker does not start; `off`: without one."""
    build_readable: tuple[Path, ...] = ()
    """What builds in a sandbox may read beside the system, for instance a compiler below /opt."""
    build_environment: Mapping[str, str] = field(default_factory=dict)
    """Added to what every build sees, for instance a proxy."""
    build_memory_bytes: int = limits.BUILD_MEMORY_BYTES_MAX
    """Memory that the processes of one build in a sandbox may use."""
    build_processes: int = limits.BUILD_PROCESSES_MAX
    """Processes and threads that one build in a sandbox may have at a time."""
    build_disk_bytes: int = limits.BUILD_DISK_BYTES_MAX
    """Disk that one build's checkout, home and /tmp may take."""
    mirrors_bytes_max: int = limits.MIRRORS_BYTES_MAX
    """Disk that its mirrors of repositories may take; beyond it those that were not used for longest go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionSettings:
    """A ``[[region]]``: the regional process, its store and its swarm's tracker. Times in seconds."""

    name: str = "local"
    """1 to 63 of a-z, 0-9 and -, the same as its machines say."""
    host: str = LOOPBACK
    """Address to listen on. Anything but loopback opens the region to the network."""
    port: int = 7411
    """Of the API for its agents; 0 picks a free one."""
    url: str = ""
    """How this region's agents reach it; empty: from host and port."""
    data_port: int = 7412
    """Where its bucket's bulk data is served from, on the same host; 0 picks a free one."""
    data_url: str = ""
    """How control and agents reach that port; empty: by its host and port."""
    control_url: str = ""
    """Empty: the file's ``[control]``."""
    token_file: Path = Path("secrets/region.token")
    """File with the region's token, for control."""
    agent_token_file: Path = Path("secrets/agent.token")
    """File with the token that its agents send."""
    directory: Path = Path()
    """Its key-value store and bucket, as far as they are not elsewhere; empty: ``regions/<name>``."""
    kv_url: str = ""
    """``etcd://HOST:2379,HOST:2379,HOST:2379/PREFIX``, ``etcds:`` for TLS: its own key-value store; empty: SQLite in
    ``directory``."""
    kv_user_file: Path = Path()
    """File with ``USER:PASSWORD`` of etcd in one line, mode 0600; empty: no user."""
    kv_ca_file: Path = Path()
    """File with the authority of etcd's certificates, PEM; empty: the system's."""
    kv_certificate_file: Path = Path()
    """File with the certificate that etcd is shown, PEM; empty: none."""
    kv_key_file: Path = Path()
    """File with the key of that certificate, PEM, mode 0600."""
    store_url: str = ""
    """Its bucket, if it is S3-compatible: ``s3://BUCKET/PREFIX?endpoint=https://HOST&region=NAME``, without secrets; it is read
    through the data port all the same; empty: in ``directory``."""
    store_credentials_file: Path = Path()
    """File with ``[default]``, ``aws_access_key_id = ...`` and ``aws_secret_access_key = ...``, mode 0600; empty: they
    are in the environment, or the role's of the host."""
    worker_public_keys: tuple[Path, ...] = (Path("keys/worker.pub"),)
    """Builders whose artifacts it copies."""
    kv_poll_interval_s: float = limits.KV_POLL_INTERVAL_S
    """How often it asks control for goals, artifacts and labels at least."""
    kv_watch: bool = True
    """Have control hold the question for goals and artifacts in between, to know of them at once."""
    report_interval_s: float = limits.REGION_REPORT_INTERVAL_S
    """How often it reports to control."""
    agent_report_interval_s: float = limits.AGENT_REPORT_INTERVAL_S
    """How often its agents report to it when nothing changes."""
    goal_polls_max: int = limits.GOAL_POLLS_MAX
    """Connections on which agents wait for goals; further agents ask as often as they report."""
    origin_bytes_per_s: int = UNLIMITED
    """Most that its bucket sends its machines, all artifacts together; 0: no limit. Changed while it runs."""
    copy_failing_s_max: float = limits.COPY_FAILING_S_MAX
    """A copy is FAILED after attempts have failed for so long without any progress; it is attempted on, once a minute."""
    copy_bytes_per_s: int = UNLIMITED
    """Most that it fetches from the main store, all artifacts together; 0: no limit. Changed while it runs."""
    background: bool = True
    """Mark what its bucket sends and its copies fetch as background traffic, which gives way to other traffic."""

    @property
    def public_url(self) -> str:
        return self.url or f"http://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """An ``[[agent]]``: the program on a machine."""

    machine: str = "machine-1"
    """Its id: 1 to 63 of a-z, 0-9 and -, of the whole fleet only one may have it."""
    region: str = "local"
    """The region it is in."""
    zone: str = ""
    """The zone of the region it is in, for selectors and for peers nearby."""
    rack: str = ""
    """The rack it is in, for peers nearby."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What selectors of services may ask for."""
    region_url: str = ""
    """Empty: the file's ``[[region]]`` of that name."""
    token_file: Path = Path("secrets/agent.token")
    """File with the agents' token."""
    directory: Path = Path()
    """Releases and services; empty: ``machines/<machine>``."""
    worker_public_keys: tuple[Path, ...] = (Path("keys/worker.pub"),)
    """Builders whose artifacts this machine runs."""
    peer_host: str = LOOPBACK
    """Where its peers reach it: an address of this host. Loopback: only peers on this host do."""
    peer_port: int = 0
    """Where it serves its peers; 0: any free one."""
    upload_bytes_per_s: int = UNLIMITED
    """Most that this machine sends its peers, all artifacts together; 0: no limit. Changed while it runs."""
    download_bytes_per_s: int = UNLIMITED
    """Most that it fetches from peers and bucket, all artifacts together; 0: no limit. Changed while it runs."""
    background: bool = True
    """Mark what it fetches and sends its peers as background traffic, which gives way to other traffic."""
    rack_bias: bool = True
    """Fetch from the machines of its own rack, so that a release crosses the rack's uplink about once; off: from anywhere."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to what services on this machine see, for instance their ``PORT``."""
    releases_more: int = limits.RELEASES_MORE
    """Releases of each service that it keeps on its disk beside those it needs (the goal's, the last that succeeded, the one
    before, two more that succeeded, pinned ones): the newest, within the two bounds below, while the disk has room."""
    releases_more_days: int = limits.RELEASES_MORE_DAYS
    """It keeps none of those that it fetched longer ago."""
    releases_more_bytes: int = limits.RELEASES_MORE_BYTES
    """Most that those of one service take up on the disk."""
    disk_free_percent: int = limits.DISK_FREE_PERCENT
    """Of the disk that ``directory`` is on: a fetch that would leave less free waits for room."""
    supervisor: Literal["auto", "systemd", "children"] = "auto"
    """`auto`: services are units of systemd where that runs the machine, and the agent is root and in the same namespaces, else
    children of the agent; `systemd`: or the agent does not start; `children`: of the agent."""
    observe: bool = False
    """Where somebody has changed a file of what runs, or what ``current`` leads to, only report it; off: put it right, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything in one file. Paths are absolute, empty ones filled in."""

    control: ControlSettings | None = None
    """``None``: control runs elsewhere."""
    workers: tuple[WorkerSettings, ...] = ()
    regions: tuple[RegionSettings, ...] = ()
    agents: tuple[AgentSettings, ...] = ()
    directory: Path
    """Of the settings file."""

    def worker(self, name: str | None) -> WorkerSettings:
        """The worker of that name, or the only one. Raises :class:`NotFound` or :class:`Invalid`."""
        return self.workers[_index("worker", tuple(worker.name for worker in self.workers), name)]

    def region(self, name: str | None) -> RegionSettings:
        """The region of that name, or the only one. Raises :class:`NotFound` or :class:`Invalid`."""
        return self.regions[_index("region", tuple(region.name for region in self.regions), name)]

    def agent(self, machine: str | None) -> AgentSettings:
        """The agent of that machine, or the only one. Raises :class:`NotFound` or :class:`Invalid`."""
        return self.agents[_index("agent", tuple(agent.machine for agent in self.agents), machine)]


def keys(kind: type[Any]) -> Sequence[Field[Any]]:
    """The keys of a table by the class it becomes: its own, then those it has from another."""
    inherited = {name for base in kind.__mro__[1:] for name in getattr(base, "__annotations__", ())}
    return sorted(fields(kind), key=lambda key: key.name in inherited)


def _index(kind: str, names: tuple[str, ...], wanted: str | None) -> int:
    if wanted is None:
        if len(names) == 1:
            return 0
        if not names:
            raise Invalid(f"no_{kind}", f"the settings have no [[{kind}]] table: add one, or pass --settings FILE")
        raise Invalid("ambiguous", f"the settings have {len(names)} {kind}s: name one of {', '.join(names)}")
    if wanted not in names:
        known = ", ".join(names) or "none"
        raise NotFound(f"unknown_{kind}", f"the settings have no {kind} {wanted!r}: they have {known}")
    return names.index(wanted)
