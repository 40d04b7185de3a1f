"""``python -m bench.page`` writes docs/benchmarks.md and its charts from bench/results; ``--check`` says what is stale."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.page import delta, goal, idle, packing, queue, replicate, rollback, swarm

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "bench" / "results"
SECTIONS = {
    "swarm-hosts": swarm.lab,
    "swarm-racks": swarm.racks,
    "swarm-loopback": swarm.loopback,
    "swarm-large": swarm.large,
    "pack": packing.pack,
    "delta": delta.delta,
    "queue": queue.queue,
    "goal": goal.goal,
    "goal-etcd": goal.goal,
    "rollback": rollback.rollback,
    "replicate": replicate.replicate,
    "idle-agent": idle.idle,
}
CHARTS = {"hosts.svg": ("swarm-hosts", swarm.lab_chart), "loopback.svg": ("swarm-loopback", swarm.loopback_chart)}


def pages(results: Mapping[str, Any]) -> dict[str, str]:
    """Every file by its path below docs/. What was not measured is left out."""
    intro = (Path(__file__).parent / "intro.md").read_text(encoding="utf-8")
    machines = sorted({"{processor}, {cores} cores, kernel {kernel}".format(**told["machine"]) for told in results.values()})
    where = f"The figures here are from: {'; '.join(machines) or 'nowhere yet'}.\n"
    sections = [section(results[name]) for name, section in SECTIONS.items() if name in results]
    charts = {f"benchmarks/{file}": chart(results[name]) for file, (name, chart) in CHARTS.items() if name in results}
    return {"benchmarks.md": "\n".join([intro, where, *sections]), **charts}


def read_results(directory: Path = RESULTS) -> dict[str, Any]:
    """By file name, without its ending."""
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(directory.glob("*.json"))}


def main(arguments: list[str]) -> int:
    stale = []
    for name, text in pages(read_results()).items():
        file = ROOT / "docs" / name
        if file.exists() and file.read_text(encoding="utf-8") == text:
            continue
        stale.append(f"docs/{name}")
        if arguments != ["--check"]:
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
            print(f"docs/{name} written")
    if arguments == ["--check"] and stale:
        print(f"stale: {', '.join(stale)}: run python -m bench.page", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
