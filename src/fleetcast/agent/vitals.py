"""Whether what is in service runs and is well: its process, its health, and how often it went down."""

from __future__ import annotations

from collections.abc import Callable

from fleetcast.agent.activation import Activator
from fleetcast.agent.hooks import HookFailed
from fleetcast.agent.memory import ServiceMemory
from fleetcast.agent.probing import HealthCheck
from fleetcast.agent.processes import ServiceProcess
from fleetcast.agent.reconcile import ProcessStatus
from fleetcast.agent.releases import ReleaseStore
from fleetcast.agent.under_way import Deaths
from fleetcast.agent.watching import HealthWatch
from fleetcast.agent.wellness import Standing


class Vitals:
    """Of one service. The loop of ``watch`` is the caller's to run."""

    def __init__(
        self,
        process: ServiceProcess,
        store: ReleaseStore,
        memory: ServiceMemory,
        activator: Activator,
        changed: Callable[[], None],
    ) -> None:
        """``changed`` is called when the service stands differently."""
        self._process = process
        self._store = store
        self._memory = memory
        self._activator = activator
        self.watch = HealthWatch(self._watched, lambda: process.instance, changed)
        self.deaths = Deaths()

    def status(self) -> ProcessStatus:
        """Of what was activated last."""
        status = self._started()
        if status in (ProcessStatus.UP, ProcessStatus.DONE):
            match self.watch.standing:
                case Standing.SICK:
                    return ProcessStatus.DOWN
                case Standing.RISING:
                    return ProcessStatus.STARTING
        return status

    def look(self) -> ProcessStatus:
        """As :meth:`status`; when it is down, that is counted."""
        status, instance = self.status(), self._process.instance
        if status is ProcessStatus.DOWN and instance is not None:
            sick = self._started() is not ProcessStatus.DOWN
            self.deaths.note(instance, self.watch.well_ms if sick else None)
        return status

    def trouble(self) -> str:
        """Why what is active does not serve now, for people; empty: it does, or something is being changed about it."""
        if self._memory.state.activation is not None:
            return ""
        if self._started() is ProcessStatus.DOWN:
            return "its process is down and will be started again"
        return self.watch.error

    def _started(self) -> ProcessStatus:
        """Whether it runs, well or not."""
        active = self._memory.state.active
        if self._process.instance is None and active is not None:
            root = self._store.root(active.release.root)
            if root is not None and root.activate:
                return ProcessStatus.DOWN
        return self._process.status()

    def _watched(self) -> HealthCheck | None:
        """How what is in service is asked whether it is still well; ``None``: nothing is, or is to be."""
        state = self._memory.state
        if state.active is None or state.activation is not None or self._started() is ProcessStatus.DOWN:
            return None
        root = self._store.root(state.active.release.root)
        if root is None or root.probe is None or not root.probe.watch:
            return None
        try:
            return self._activator.check(state.active.release)
        except HookFailed:  # its user is gone from this machine: the next start says so
            return None
