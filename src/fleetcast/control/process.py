"""The control process: opens what is global, runs the loops, serves the API, and ends when told.

Each loop is safe to run in several control processes at once. A loop that fails with an error of ours tries again by itself;
any other error ends the process, and whoever supervises it starts another: all that lasts is in SQL.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from socket import gethostname
from typing import Any

import structlog

from fleetcast.artifacts.signing import load_public
from fleetcast.builds.ageing import forget_builds
from fleetcast.builds.lease_rules import QueueLimits
from fleetcast.builds.log_blobs import move_logs
from fleetcast.builds.logs import BuildLogs
from fleetcast.builds.lost_blobs import LostBlobs
from fleetcast.builds.queue import QUEUED_CHANNEL, BuildQueue
from fleetcast.builds.reaper import Reaper
from fleetcast.builds.uploads import BuildUploads
from fleetcast.control import kv_pages
from fleetcast.control.app import control_app
from fleetcast.control.buckets import RegionalBuckets
from fleetcast.control.checks.loop import Checking
from fleetcast.control.config import ControlConfig
from fleetcast.control.events import forget_events
from fleetcast.control.hooks.deliveries import forget_deliveries
from fleetcast.control.loops import regularly
from fleetcast.control.parts import Parts
from fleetcast.control.polling import Polling
from fleetcast.control.presence import Presence
from fleetcast.control.silence import Silence
from fleetcast.control.statuses.outbox import forget_statuses
from fleetcast.control.statuses.sending import status_loops
from fleetcast.control.webhooks.outbox import forget_webhook_deliveries
from fleetcast.control.webhooks.sending import webhook_loops
from fleetcast.http import serving
from fleetcast.http.holding import Bell, Bells, Line, Places
from fleetcast.http.sse import Streams
from fleetcast.http.tokens import load_or_create_secret
from fleetcast.model.limits import (
    BUILD_FINISH_S_MAX,
    BUILD_SOURCE_S_MAX,
    COLLECTING_INTERVAL_S,
    CONTROL_STOP_S_MAX,
    HISTORY_INTERVAL_S,
    HOOKS_AT_ONCE_MAX,
    KV_COMPACT_INTERVAL_S,
    KV_HELD_MAX,
)
from fleetcast.replication.status import ReplicationStatus
from fleetcast.retention.collection import Bounds
from fleetcast.retention.collector import Collector
from fleetcast.retention.planning import Policy
from fleetcast.rollouts.controller import RolloutController
from fleetcast.rollouts.pushes import Pushes
from fleetcast.rollouts.triggers import Triggers
from fleetcast.schema import migrate
from fleetcast.schema.idempotency import forget_keys
from fleetcast.stores.blobs import BlobStore
from fleetcast.stores.data_port import DataPort
from fleetcast.stores.database import Database
from fleetcast.stores.directory_blobs import DirectoryBlobs
from fleetcast.stores.kv import KeyValueStore
from fleetcast.stores.kv_engines import open_kv
from fleetcast.stores.notices import listen

log = structlog.get_logger(__name__)

Listening = Callable[[Mapping[str, str]], None]


async def serve(config: ControlConfig, stop: asyncio.Event, listening: Listening) -> None:
    """Run until ``stop``. ``listening`` is told the addresses of ``api`` and ``data`` once requests are answered.

    Raises:
        Refused, Unavailable: an address is taken, a file cannot be opened.
        Invalid, NotFound: a key file is missing or none.
    """
    async with contextlib.AsyncExitStack() as opened:
        sock = serving.bind(config.host, config.port, "port of [control]")
        opened.callback(sock.close)
        database = await _database(opened, config.database_url)
        presence = Presence(database, f"{gethostname()} {serving.url_of(sock)}")
        await presence.begin()
        apart = config.replication_database_url not in ("", config.database_url)
        replication_database = await _database(opened, config.replication_database_url) if apart else database
        kv = await open_kv(config.kv_path, config.kv_etcd)
        opened.push_async_callback(kv.close)
        main, data_url = await _main_store(opened, config)
        addresses = {"api": serving.url_of(sock), "data": data_url}
        parts = _assemble(config, database, replication_database, kv, main, place=f"{gethostname()} {addresses['api']}")

        def started() -> None:
            log.info("control_started", **addresses)
            listening(addresses)

        await parts.queue.begin()
        app = control_app(parts)
        async with _running({**_loops(parts, stop), "presence": presence.run(stop)}):
            await serving.serve(app, sock, stop, started=started)
    log.info("control_stopped")


async def _database(opened: contextlib.AsyncExitStack, url: str) -> Database:
    await asyncio.to_thread(migrate, url)
    database = await Database.open(url)
    opened.push_async_callback(database.close)
    return database


async def _main_store(opened: contextlib.AsyncExitStack, config: ControlConfig) -> tuple[BlobStore, str]:
    """The main blob store, and where that is: the URL of the data port in front of it, unless it is an S3-compatible one."""
    if config.main_s3 is not None:
        from fleetcast.stores.s3_bucket import s3_bucket  # an import that nobody else needs to wait for

        return opened.enter_context(s3_bucket(config.main_s3)).blobs, str(config.main_s3.address)
    key = load_or_create_secret(config.data_key).encode()
    config.main_bucket.mkdir(parents=True, exist_ok=True)
    port = DataPort(config.main_bucket, key, config.data_host, config.data_port)
    port.start("data_port of [control]")
    opened.push_async_callback(asyncio.to_thread, port.close)
    url = config.data_url or port.url
    return DirectoryBlobs(config.main_bucket, data_url=url, data_key=key), url


def _assemble(
    config: ControlConfig,
    database: Database,
    replication_database: Database,
    kv: KeyValueStore,
    main: BlobStore,
    *,
    place: str,
) -> Parts:
    queued, news = Line(), Bell()
    limits = QueueLimits(
        attempts_max=config.build_attempts_max,
        queued_s_max=config.build_queued_s_max,
        silence_s_max=config.heartbeat_silence_s_max,
        running_s_max=BUILD_SOURCE_S_MAX + config.build_command_s_max + config.build_pack_upload_s_max + BUILD_FINISH_S_MAX,
        service_running_max=config.build_service_running_max,
        retry_s=config.build_retry_s,
    )
    queue = BuildQueue(database, limits, on_queued=queued.ring)
    worker_keys = tuple(load_public(path) for path in config.worker_public_keys)
    controller = RolloutController(
        database,
        kv,
        queue,
        replicate_s_max=config.replicate_s_max,
        distribute_s_max=config.distribute_s_max,
        goal_lifetime_s=config.goal_lifetime_s,
        place=place,
        on_step=news.ring,
    )
    triggers = Triggers(database, queue, goal_lifetime_s=config.goal_lifetime_s)
    policy = Policy(
        Bounds(config.main_retention_days, config.main_retention_count, config.main_retention_bytes, config.retention_grace_s),
        Bounds(
            config.region_retention_days, config.region_retention_count, config.region_retention_bytes, config.retention_grace_s
        ),
    )
    return Parts(
        config=config,
        database=database,
        replication_database=replication_database,
        kv=kv,
        main=main,
        buckets=RegionalBuckets(database),
        queue=queue,
        logs=BuildLogs(database, main),
        uploads=BuildUploads(database, queue, main, worker_keys),
        triggers=triggers,
        pushes=Pushes(database, triggers),
        controller=controller,
        collector=Collector(database, kv, main, policy),
        queued=queued,
        news=news,
        logged=Bells(),
        streams=Streams(),
        kv_places=Places(KV_HELD_MAX),
        hooks_receiving=asyncio.Semaphore(HOOKS_AT_ONCE_MAX),
    )


def _loops(parts: Parts, stop: asyncio.Event) -> dict[str, Coroutine[Any, Any, None]]:
    config = parts.config
    status = ReplicationStatus(
        parts.database,
        parts.buckets,
        replication=parts.replication_database,
        recheck_interval_s=config.replication_recheck_interval_s,
        on_change=parts.controller.wake,
    )

    async def compact() -> None:
        await kv_pages.compact(parts.kv, config.kv_history_revisions)

    async def forget() -> None:
        async with parts.database.transaction() as tx:
            await forget_events(tx)
            await forget_keys(tx)
            await forget_deliveries(tx)
            await forget_statuses(tx)
            await forget_webhook_deliveries(tx)
        await forget_builds(parts.database, config.build_retention_days)

    async def move() -> None:
        await move_logs(parts.database, parts.main)

    async def look_for_builds() -> None:
        """One look for all workers that wait here: each of them looking would be a hundred times as many questions."""
        if await parts.queue.waits():
            parts.queued.ring()

    silence = Silence(parts.database, status, config.region_silence_s_max, config.replication_check_interval_s, parts.stir)
    lost = LostBlobs(parts.database, parts.main)
    reaper = Reaper(parts.queue, config.heartbeat_silence_s_max, config.reaper_interval_s)
    return {
        "reaper": regularly("reaper", reaper.turn, config.reaper_interval_s, stop),
        "queue": regularly("queue", look_for_builds, config.claim_poll_interval_s, stop),
        "notices": listen(config.notice_database_url or config.database_url, QUEUED_CHANNEL, parts.queued.ring, stop),
        "uploads": regularly("uploads", parts.uploads.sweep, config.reaper_interval_s, stop),
        "lost blobs": regularly("lost blobs", lost.sweep, config.reaper_interval_s, stop),
        "logs": regularly("logs", move, config.reaper_interval_s, stop),
        "buckets": regularly("buckets", parts.buckets.refresh, config.replication_check_interval_s, stop),
        "replication": regularly("replication", silence.turn, config.replication_check_interval_s, stop),
        "rollouts": parts.controller.run(stop),
        "retention": regularly("retention", parts.collector.decide, config.retention_interval_s, stop),
        "collecting": regularly("collecting", parts.collector.finish, COLLECTING_INTERVAL_S, stop),
        "bells": _close_bells(parts, stop),
        "kv compaction": regularly("kv compaction", compact, KV_COMPACT_INTERVAL_S, stop),
        **status_loops(parts.database, config, stop),
        **webhook_loops(parts.database, stop),
        "checks": Checking(parts.database, parts.stir, allow_commands=config.check_commands).run(stop),
        "polling": Polling(parts.database, parts.pushes, parts.stir).run(stop),
        "history": regularly("history", forget, HISTORY_INTERVAL_S, stop),
    }


@contextlib.asynccontextmanager
async def _running(loops: Mapping[str, Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Run the loops beside the block. One that fails cancels the block; when it ends, they get a moment to end as well."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(loop, name=name) for name, loop in loops.items()]
        yield
        _, late = await asyncio.wait(tasks, timeout=CONTROL_STOP_S_MAX)
        for task in late:
            log.warning("loop_cut_off", loop=task.get_name())
            task.cancel()


async def _close_bells(parts: Parts, stop: asyncio.Event) -> None:
    """Answer what is held, so that nobody is cut off."""
    await stop.wait()
    parts.queued.close()
    parts.news.close()
    parts.logged.close()
