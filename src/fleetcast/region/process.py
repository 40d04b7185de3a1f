"""The region process: opens what the region has, runs the loops, serves the agents, and ends when told.

A loop that cannot reach control tries again by itself, and agents do not notice. Any error that is not one of ours ends the
process; whoever supervises it starts another, and the agents' next reports rebuild what this one knew.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import structlog

from fleetcast.artifacts.signing import PrivateKey, PublicKey, generate_key, load_private, load_public
from fleetcast.client.control import ControlClient
from fleetcast.http import serving
from fleetcast.http.tokens import Role, TokenSet, load_or_create_secret
from fleetcast.model.limits import ANNOUNCE_LIFETIME_S
from fleetcast.model.messages.regions import RegionHello
from fleetcast.region.alarms import Alarms
from fleetcast.region.api import region_api
from fleetcast.region.collecting import Collecting
from fleetcast.region.config import RegionConfig
from fleetcast.region.copying import Copying
from fleetcast.region.goals import alive
from fleetcast.region.hot import HotRoutes
from fleetcast.region.label_mirror import LabelMirror
from fleetcast.region.machines import MachineBook
from fleetcast.region.mirror import Mirror
from fleetcast.region.parts import Parts
from fleetcast.region.permit_note import PermitNote
from fleetcast.region.permits import PermitBook, PermitTerms
from fleetcast.region.polls import GoalPolls
from fleetcast.region.reporting import Reporting
from fleetcast.region.rollbacks import RegionRollbacks
from fleetcast.region.swarms import Swarms
from fleetcast.region.view import RegionView
from fleetcast.replication.copier import Copier
from fleetcast.stores import boots
from fleetcast.stores.blobs import BlobStore
from fleetcast.stores.data_port import DataPort
from fleetcast.stores.data_port_blobs import DataPortBlobs
from fleetcast.stores.directory_blobs import DirectoryBlobs
from fleetcast.stores.kv import KeyValueStore
from fleetcast.stores.kv_engines import open_kv
from fleetcast.swarm import tickets

if TYPE_CHECKING:
    from fleetcast.stores.s3_bucket import S3Bucket

log = structlog.get_logger(__name__)

Listening = Callable[[Mapping[str, str]], None]


@dataclass(frozen=True, slots=True)
class _Opened:
    """What has to be closed again, and what is read from files."""

    store: KeyValueStore
    bucket: BlobStore
    data_url: str
    data_key: bytes
    ticket_key: PrivateKey
    worker_keys: Sequence[PublicKey]
    control: ControlClient


async def serve(config: RegionConfig, stop: asyncio.Event, listening: Listening) -> None:
    """Run until ``stop``. ``listening`` is told the addresses of ``api`` and ``data`` once requests are answered.

    Raises:
        Refused, Unavailable: an address is taken, a file cannot be opened.
        Invalid, NotFound: a key file is missing or none.
    """
    async with contextlib.AsyncExitStack() as stack:
        sock = serving.bind(config.host, config.port, f"port of [[region]] {config.region}")
        stack.callback(sock.close)
        opened = await _open(stack, config)
        view = RegionView(opened.store)
        await view.load()
        polls = GoalPolls(tickets.public_hex(opened.ticket_key), config.agent_report_interval_s, _now_ms, config.goal_polls_max)
        machines = MachineBook(config.region, config.machine_silence_s_max, time.monotonic())

        def publish() -> None:
            polls.publish(alive(view.goals, _now_ms()))

        publish()
        view.on_goals.append(publish)
        for relabel in (polls.relabel, machines.relabel):
            relabel(view.labels)
            view.on_labels.append(relabel)
        permit_note = PermitNote(opened.store, config.permit_lifetime_s, boots.boot())
        unsettled_s = await permit_note.remaining_s(boots.uptime_ms())
        if view.goals:  # machines may be down that have said so to the process before
            unsettled_s = max(unsettled_s, config.agent_report_interval_s)
        permits = PermitBook(PermitTerms(config.permit_lifetime_s, time.monotonic() + unsettled_s))
        alarms = Alarms()
        loops, swarms, rollbacks = _loops(config, opened, view, machines, permits, alarms)
        parts = Parts(view, machines, permits, permit_note, swarms, rollbacks)
        tokens = TokenSet({Role.AGENT: config.agent_token, Role.REGION: config.token})
        app = HotRoutes(region_api(parts, tokens), tokens, polls, machines, lambda text: _note(alarms, text))
        addresses = {"api": serving.url_of(sock), "data": opened.data_url}

        def started() -> None:
            log.info("region_started", region=config.region, **addresses)
            listening(addresses)

        async with _running({**loops, "polls": _close_polls((polls, swarms), stop)}):
            await serving.serve(app, sock, stop, started=started)
    log.info("region_stopped", region=config.region)


async def _open(stack: contextlib.AsyncExitStack, config: RegionConfig) -> _Opened:
    config.kv_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    data_key = load_or_create_secret(config.data_key).encode()
    s3: S3Bucket | None = None
    if config.s3 is None:
        config.bucket.mkdir(mode=0o700, parents=True, exist_ok=True)  # what is built here is not everybody's on this host
    else:
        from fleetcast.stores.s3_bucket import s3_bucket  # an import that nobody else needs to wait for

        s3 = stack.enter_context(s3_bucket(config.s3))
    served = s3.served if s3 else config.bucket
    port = DataPort(served, data_key, config.data_host, config.data_port, config.origin, background=config.background)
    port.start(f"data_port of [[region]] {config.region}")
    stack.push_async_callback(asyncio.to_thread, port.close)
    data_url = config.data_url or port.url
    store = await open_kv(config.kv_path, config.kv_etcd)
    stack.push_async_callback(store.close)
    control = ControlClient(config.control_url, config.token)
    stack.push_async_callback(control.aclose)
    return _Opened(
        store=store,
        bucket=s3.blobs if s3 else DirectoryBlobs(config.bucket, data_url=data_url, data_key=data_key),
        data_url=data_url,
        data_key=data_key,
        ticket_key=_ticket_key(config.ticket_key),
        worker_keys=tuple(load_public(path) for path in config.worker_public_keys),
        control=control,
    )


def _ticket_key(path: Path) -> PrivateKey:
    if not path.exists():
        generate_key(path, path.with_suffix(".pub"))
    return load_private(path)


def _loops(
    config: RegionConfig, opened: _Opened, view: RegionView, machines: MachineBook, permits: PermitBook, alarms: Alarms
) -> tuple[dict[str, Coroutine[Any, Any, None]], Swarms, RegionRollbacks]:
    """The loops by name, the swarms that one of them keeps tidy, and the rollbacks that another keeps up."""
    copier = Copier(
        opened.bucket, opened.control, opened.worker_keys, opened.store, config.copies, background=config.background
    )
    copying = Copying(view, copier, config.bucket_recheck_interval_s, Random(), config.copy_failing_s_max)
    started_at = time.monotonic()
    swarms = Swarms(
        view,
        DataPortBlobs(opened.data_url, opened.data_key),
        copying.is_complete,
        opened.ticket_key,
        opened.worker_keys,
        started_at,
        Random(),
        config.origin,
    )
    hello = RegionHello(config.region, opened.data_url, opened.data_key.hex())
    label_mirror = LabelMirror(opened.control, opened.store, config.kv_poll_interval_s, Random())
    mirror = Mirror(opened.control, opened.store, alarms, config.kv_poll_interval_s, Random(), watching=config.kv_watch)
    rollbacks = RegionRollbacks(config.region, opened.store, view, machines, copying.is_complete, _now_ms)
    reporting = Reporting(
        opened.control,
        hello,
        view,
        machines,
        permits,
        copying,
        alarms,
        config.report_interval_s,
        rollbacks,
        mirror.read_again,
    )
    collecting = Collecting(config.region, opened.control, view, opened.bucket, opened.store, copying.turns)
    loops = {
        "view": view.follow(),
        "mirror": mirror.run(),
        "labels": label_mirror.run(),
        "copying": copying.run(),
        "collecting": collecting.run(),
        "reporting": reporting.run(),
        "rollbacks": rollbacks.run(),
        "swarms": _expire_swarms(swarms),
    }
    return loops, swarms, rollbacks


def _now_ms() -> int:
    return round(time.time() * 1000)


def _note(alarms: Alarms, text: str) -> None:
    if alarms.raise_alarm(text, time.monotonic()):
        log.warning("alarm", text=text)


@contextlib.asynccontextmanager
async def _running(loops: Mapping[str, Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Run the loops beside the block. One that fails cancels the block; when the block ends, they are cancelled: whatever
    they were at, a new process takes up from what is stored."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(loop, name=name) for name, loop in loops.items()]
        yield
        for task in tasks:
            task.cancel()


async def _close_polls(holders: Iterable[GoalPolls | Swarms], stop: asyncio.Event) -> None:
    """Answer every request that is held, so that nobody is cut off."""
    await stop.wait()
    for holder in holders:
        holder.close()


async def _expire_swarms(swarms: Swarms) -> None:
    while True:
        await asyncio.sleep(ANNOUNCE_LIFETIME_S)
        swarms.expire(time.monotonic(), time.time())
