"""The contest between hosts in network namespaces, with limited links and perhaps racks."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from bench.swarm import aria2, libtorrent, ours
from bench.swarm.asked import Asked
from bench.swarm.contest import Field, Run
from bench.swarm.figures import ratio, rounded, summary, valid, with_figures
from bench.swarm.place import place, warm
from fleetcast.launch import sweeper
from fleetcast.launch.settings import AgentSettings, RegionSettings
from lab import goodput
from lab.company import Choices
from lab.network import Network
from lab.plan import even

COPIES = 3
"""Of the artifact, besides the machines': the worker's output, the main bucket and the region's, or a rival's source."""
RUN_OVER_BOUND_MAX = 12
RUN_S_MIN = 60.0
BIAS = "rack_bias"
RIVALS = {"libtorrent": libtorrent.run, "aria2": aria2.run}

Say = Callable[[str], None]


def measure(asked: Asked, say: Say) -> dict[str, Any]:
    """The result as JSON has it. Raises :class:`~lab.errors.LabError`."""
    if asked.rivals:
        libtorrent.check()
        aria2.check()
    plan = even(asked.machines, asked.rate_mbit, asked.racks, asked.oversubscription)
    runs: dict[str, list[Run]] = {}
    goodputs = []
    with place(asked.size_bytes * (asked.machines + COPIES), asked.directory) as directory, Network(plan) as network:
        for number in range(1, asked.runs + 1):
            contest = _Contest(asked, network, directory)
            goodputs.append(contest.goodput_mbit)
            say(f"run {number}: one stream carries {contest.goodput_mbit:.2f} Mbit/s: the bound is {contest.bound_s:.2f} s")
            for name, run in contest.everybody():
                runs.setdefault(name, []).append(run)
                say(f"  {name}: {_line(run)}")
    goodput_mbit = statistics.median(goodputs)
    return {**_result(runs), "goodput_mbit": rounded(goodput_mbit), "bound_s": rounded(_bound_s(asked, goodput_mbit))}


class _Contest:
    """One run of everybody in one network, one after the other."""

    def __init__(self, asked: Asked, network: Network, directory: Path) -> None:
        self._asked, self._network, self._directory = asked, network, directory
        self._machines = [host for name, host in network.hosts.items() if name != "origin"]
        self._entered: dict[str, int] = {}
        network.limit()
        self.goodput_mbit = goodput.measure(network.hosts["origin"], self._machines[0])
        self.bound_s = _bound_s(asked, self.goodput_mbit)

    def everybody(self) -> Iterator[tuple[str, Run]]:
        yield "fleetcast", self._ours(Choices())
        if self._asked.racks and (blind := _blind()) is not None:
            yield "blind", self._ours(blind)
        for name, run in RIVALS.items() if self._asked.rivals else ():
            directory = self._directory / name
            try:
                yield name, self._bounded(run(self._field(), directory))
            finally:
                sweeper.remove(directory)

    def _ours(self, choices: Choices) -> Run:
        run = self._bounded(ours.run(self._field(), self._directory / "fleetcast", choices))
        if not self._asked.racks:
            return run
        entered = [after - self._entered[rack] for rack, after in self._network.entered().items()]
        return with_figures(run, max_rack_in_over_size=max(entered) / self._asked.size_bytes)

    def _field(self) -> Field:
        """What is needed before the start signal is copied without limits."""
        self._network.lift()
        return Field(
            hub=self._network.hub,
            origin=self._network.hosts["origin"],
            machines=self._machines,
            size_bytes=self._asked.size_bytes,
            files=self._asked.files,
            run_s_max=max(RUN_S_MIN, RUN_OVER_BOUND_MAX * self.bound_s),
            start=self._start,
        )

    def _start(self) -> None:
        warm(self._directory, self._asked.size_bytes * len(self._machines))
        self._network.limit()
        self._entered = self._network.entered()

    def _bounded(self, run: Run) -> Run:
        return with_figures(run, last_over_bound=run.figures["last_s"] / self.bound_s)


def _blind() -> Choices | None:
    """The one setting with which racks are all the same to Fleetcast; ``None``: it has no such setting."""
    off = {BIAS: False}
    if any(each.name == BIAS for each in fields(RegionSettings)):
        return Choices(region=off)
    return Choices(agent=off) if any(each.name == BIAS for each in fields(AgentSettings)) else None


def _bound_s(asked: Asked, goodput_mbit: float) -> float:
    return asked.size_bytes * 8 / (goodput_mbit * 1e6)


def _result(runs: dict[str, list[Run]]) -> dict[str, Any]:
    contestants = {name: summary(each) for name, each in runs.items()}
    result: dict[str, Any] = {"valid": valid(contestants)}
    result |= {f"last_over_{name}": ratio(runs["fleetcast"], runs[name], "last_s") for name in RIVALS if name in runs}
    ours = contestants["fleetcast"]
    if "max_rack_in_over_size" in ours:
        result |= {"max_rack_in_over_size": ours["max_rack_in_over_size"], "last_over_bound": ours["last_over_bound"]}
        result |= {"last_over_blind": ratio(runs["fleetcast"], runs["blind"], "last_s") if "blind" in runs else None}
    return {**result, **contestants}


def _line(run: Run) -> str:
    told = run.figures
    parts = [f"last {told['last_s']:.2f} s", f"{told['last_over_bound']:.3f} of the bound", f"{told['cpu_s']:.1f} CPU-s"]
    names = {"origin_over_size": "from the origin", "max_rack_in_over_size": "into a rack at most"}
    parts += [f"{told[name]:.2f} sizes {what}" for name, what in names.items() if name in told]
    return ", ".join(parts)
