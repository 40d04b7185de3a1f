"""What the benchmark of a sick release is asked, and what it and others call being without service."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from bench.fleet import SERVICE, Watch
from bench.sick_release import main
from fleetcast.agent.layout import MachineLayout
from fleetcast.launch.ports import free_ports
from lab.errors import LabError


@pytest.mark.parametrize("asked", [("--machines", "2"), ("--canary", "0"), ("--canary", "25"), ("--regions", "0")])
def test_what_makes_no_sense_is_told(asked: tuple[str, ...]) -> None:
    with pytest.raises(LabError, match="at least one machine a region"):
        main(asked)


@pytest.mark.parametrize(("activation", "without"), [(None, {"m1"}), ({"id": "a"}, set())])
def test_who_does_not_answer_is_without_service_unless_it_is_changing_over(
    tmp_path: Path, activation: object, without: set[str]
) -> None:
    (port,) = free_ports(1, "127.0.0.1", random.Random())
    layout = MachineLayout(tmp_path).service(SERVICE)
    layout.make()
    layout.state.write_text(json.dumps({"activation": activation}))
    watch = Watch({"m1": (port, layout)})
    watch.look()
    assert (watch.samples, watch.without) == (1, without)
