"""Figures for monitoring, in Prometheus' text format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from fleetcast.builds.policy import WaitsFor
from fleetcast.model.build import Lane
from fleetcast.model.messages.queue import QueueStatus

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST


class _Queue:
    """One look at the queue as a collector: nothing is counted between two scrapes, so nothing is lost with a process."""

    def __init__(self, status: QueueStatus) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        status = self._status
        lanes = GaugeMetricFamily("fleetcast_queue_builds", "Builds that wait, by lane.", labels=["lane"])
        lanes.add_metric([Lane.ORDINARY], status.queued - status.urgent)
        lanes.add_metric([Lane.URGENT], status.urgent)
        yield lanes
        listed = Counter(one.waits_for for one in status.waiting)
        reasons = GaugeMetricFamily(
            "fleetcast_queue_waiting_for", "Builds that wait, by what for, among the first in line.", labels=["what"]
        )
        for reason in WaitsFor:
            reasons.add_metric([reason], listed[reason])
        yield reasons
        for name, text, value in (
            ("fleetcast_queue_ready", "Builds that wait for nothing but a worker.", status.ready),
            ("fleetcast_queue_oldest_seconds", "Since the order of the build that waited longest.", status.oldest_wait_s),
            ("fleetcast_queue_oldest_ready_seconds", "The same among those that wait for a worker.", status.oldest_ready_s),
            ("fleetcast_builds_running", "Builds that run.", status.running),
            ("fleetcast_worker_slots_idle", "Slots of workers that ask this process for a build.", status.idle),
            ("fleetcast_worker_slots_wanted", "Builds that should be able to run at a time.", status.wanted_workers),
        ):
            yield GaugeMetricFamily(name, text, value=value)


def exposition(status: QueueStatus) -> bytes:
    """The figures of one look at the queue."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Queue(status))
    return generate_latest(registry)
