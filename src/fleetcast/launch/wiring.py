"""From settings to rooms that are ready to run: each function imports its room alone."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING

from fleetcast.launch.following import Wired
from fleetcast.model.errors import Invalid
from fleetcast.model.ids import machine_id, region_name
from fleetcast.model.machine import Machine

if TYPE_CHECKING:
    from fleetcast.launch.settings import AgentSettings, RegionSettings, Settings, WorkerSettings


def control(settings: Settings) -> Wired:
    """The global process. Raises :class:`Invalid` where the settings have none, and for tokens."""
    from fleetcast.control import process
    from fleetcast.control.choices import ControlChoices
    from fleetcast.control.config import ControlConfig
    from fleetcast.http.tokens import TokenSet
    from fleetcast.launch.database import database_address, notice_address
    from fleetcast.launch.key_values import etcd_of
    from fleetcast.launch.store import s3_place

    mine = settings.control
    if mine is None:
        raise Invalid("no_control", "the settings have no [control] table: add one, or pass --settings FILE")
    # Its databases hold secrets: regions' data keys, builds' tokens.
    mine.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    address = database_address(mine)
    config = ControlConfig(
        host=mine.host,
        port=mine.port,
        data_host=mine.host,
        data_port=mine.data_port,
        data_url=mine.data_url,
        data_key=mine.directory / "data.key",
        tokens=TokenSet.load(mine.secrets),
        database_url=address,
        notice_database_url=notice_address(mine, address),
        replication_database_url=mine.replication_database_url,
        kv_path=mine.directory / "kv.db",
        kv_etcd=etcd_of(mine),
        main_bucket=mine.directory / "bucket",
        main_s3=s3_place(mine),
        worker_public_keys=mine.worker_public_keys,
        **{choice.name: getattr(mine, choice.name) for choice in fields(ControlChoices)},
    )
    return Wired(partial(process.serve, config), mine)


def worker(settings: WorkerSettings, scale_to_load: str | None = None) -> Wired:
    """A worker; ``scale_to_load``: MIN..MAX of its slots. Raises :class:`Invalid`, also for that, and :class:`NotFound` for
    its token."""
    from fleetcast.http.tokens import load
    from fleetcast.worker import process
    from fleetcast.worker.config import WorkerConfig
    from fleetcast.worker.sandbox import BuildLimits
    from fleetcast.worker.scaling import bounds_of

    config = WorkerConfig(
        name=settings.name,
        control_url=_address(settings.control_url, f"worker {settings.name}: no control_url, and no [control] table"),
        token=load(settings.token_file),
        workspace=settings.directory,
        signing_key=settings.signing_key,
        poll_interval_s=settings.poll_interval_s,
        slots=settings.slots,
        scale=None if scale_to_load is None else bounds_of(scale_to_load),
        drain_s_max=settings.drain_s_max,
        sandbox=settings.sandbox,
        build_readable=settings.build_readable,
        build_environment=dict(settings.build_environment),
        build_limits=BuildLimits(settings.build_memory_bytes, settings.build_processes, settings.build_disk_bytes),
        mirrors_bytes_max=settings.mirrors_bytes_max,
        secret_files=(settings.token_file,),
    )
    hand_back = asyncio.Event()
    return Wired(partial(process.serve, config, hand_back=hand_back), settings, told_again=hand_back.set)


def region(settings: RegionSettings) -> Wired:
    """A region's process. Raises :class:`Invalid` and :class:`NotFound` for tokens."""
    from fleetcast.http.tokens import load
    from fleetcast.launch.key_values import etcd_of
    from fleetcast.launch.store import s3_place
    from fleetcast.region import process
    from fleetcast.region.config import RegionConfig
    from fleetcast.stores.limiter import Limiter

    config = RegionConfig(
        region=region_name(settings.name),
        host=settings.host,
        port=settings.port,
        control_url=_address(settings.control_url, f"region {settings.name}: no control_url, and no [control] table"),
        token=load(settings.token_file),
        agent_token=load(settings.agent_token_file),
        kv_path=settings.directory / "kv.db",
        kv_etcd=etcd_of(settings),
        bucket=settings.directory / "bucket",
        s3=s3_place(settings),
        data_host=settings.host,
        data_port=settings.data_port,
        data_url=settings.data_url,
        data_key=settings.directory / "data.key",
        ticket_key=settings.directory / "tickets.key",
        worker_public_keys=settings.worker_public_keys,
        kv_poll_interval_s=settings.kv_poll_interval_s,
        kv_watch=settings.kv_watch,
        report_interval_s=settings.report_interval_s,
        agent_report_interval_s=settings.agent_report_interval_s,
        goal_polls_max=settings.goal_polls_max,
        copy_failing_s_max=settings.copy_failing_s_max,
        origin=Limiter(settings.origin_bytes_per_s),
        copies=Limiter(settings.copy_bytes_per_s),
        background=settings.background,
    )
    live = {"origin_bytes_per_s": config.origin.change, "copy_bytes_per_s": config.copies.change}
    return Wired(partial(process.serve, config), settings, live)


def agent(settings: AgentSettings) -> Wired:
    """A machine's agent. Raises :class:`Invalid` and :class:`NotFound` for tokens."""
    from fleetcast.agent import process
    from fleetcast.agent.config import AgentConfig
    from fleetcast.agent.retention import KeepMore
    from fleetcast.http.tokens import load
    from fleetcast.stores.limiter import Limiter
    from fleetcast.swarm.bandwidth import Bandwidth

    up, down = Limiter(settings.upload_bytes_per_s), Limiter(settings.download_bytes_per_s)
    config = AgentConfig(
        machine=Machine(
            machine_id(settings.machine), region_name(settings.region), settings.zone, settings.rack, dict(settings.labels)
        ),
        region_url=_address(
            settings.region_url, f"agent {settings.machine}: no region_url, and no [[region]] {settings.region!r}"
        ),
        token=load(settings.token_file),
        root=settings.directory,
        worker_public_keys=settings.worker_public_keys,
        peer_host=settings.peer_host,
        peer_port=settings.peer_port,
        rack_bias=settings.rack_bias,
        bandwidth=Bandwidth(up, down, settings.background),
        environment=dict(settings.environment),
        supervisor=settings.supervisor,
        observe=settings.observe,
        keep_more=KeepMore(settings.releases_more, settings.releases_more_days, settings.releases_more_bytes),
        disk_free_percent=settings.disk_free_percent,
    )
    return Wired(
        partial(process.serve, config), settings, {"upload_bytes_per_s": up.change, "download_bytes_per_s": down.change}
    )


def _address(url: str, complaint: str) -> str:
    if not url:
        raise Invalid("no_address", f"{complaint}: say it in the settings")
    return url
