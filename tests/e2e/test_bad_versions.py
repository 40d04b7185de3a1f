"""Processes of other versions in one installation: one apart they work together, two apart is refused in words.

The installation speaks protocol 3; each Python of it is made to speak what its process shall.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

Check = Callable[..., str]
BASE = 3


def speaking(**versions: int) -> str:
    """Python by which a process speaks its version: by machine id, by noun, or ``BASE``. It sends a field nobody knows, too."""
    return f"""
import sys
versions = {versions}
words = [word.replace("-", "_") for word in sys.orig_argv]
import fleetcast.model.protocol as protocol
spoken = next((versions[word] for word in reversed(words) if word in versions), {BASE})
protocol.PROTOCOL = spoken
if spoken != {BASE}:
    import json
    import fleetcast.http.messages as messages
    encode = messages.encode
    def encode_more(value):
        data = encode(value)
        return data[:-1] + b',"of_a_later_version":[1]}}' if data[:1] == b"{{" and len(data) > 2 else data
    messages.encode = encode_more
"""


def test_one_version_apart_they_work_together(start_place: Callable[..., Any]) -> None:
    """A newer and an older agent, a newer worker, an older region: a whole deployment, and the way back."""
    place = start_place(machines=3, patch=speaking(local_1=BASE + 1, local_2=BASE - 1, worker=BASE + 1, region=BASE))
    place.good()
    place.good()
    assert place.fleetcast("rollback", "good").returncode == 0
    assert place.tracebacks() == []


def test_regions_one_version_apart(start_place: Callable[..., Any]) -> None:
    """An older and a newer one, each with an agent of its own version."""
    spoken = {"old": BASE - 1, "old_1": BASE - 1, "new": BASE + 1, "new_1": BASE + 1}
    place = start_place(machines=4, regions=("old", "new"), patch=speaking(**spoken))
    place.good()
    assert place.tracebacks() == []


def test_two_versions_apart_is_refused_and_said_to_whom(
    start_place: Callable[..., Any], until: Callable[..., None], one_line: Check
) -> None:
    """The agents local-2 (too old) and local-3 (too new) stay outside; everybody else goes on."""
    place = start_place(
        machines=3, reporting=1, patch=speaking(local_2=BASE - 2, local_3=BASE + 2, watch=BASE + 2, abort=BASE - 2)
    )

    def said(line: str, machine: str | None = None) -> bool:
        return line in (place.log(f"agent-{machine}") if machine else place.fleetcast("status").stdout)

    place.good()
    for machine, spoken, older in (("local-2", BASE - 2, "the caller"), ("local-3", BASE + 2, "the server")):
        line = f"the caller speaks protocol {spoken}, the server {BASE}: upgrade {older}"
        until(partial(said, line, machine), f"{machine} is told")
        until(partial(said, f"an agent was not let in: {line}"), "people are told")
    identifier = re.search(r'"id":"([0-9a-f]{16})"', place.fleetcast("status", "good", "--json").stdout)
    assert identifier is not None
    one_line(place.fleetcast("watch", identifier[1]), 4, f"speaks protocol {BASE}, this program {BASE + 2}: upgrade http://")
    assert place.tracebacks() == []


def test_workers_two_versions_apart_build_nothing(start_place: Callable[..., Any]) -> None:
    spoken = {"worker-2": (BASE - 2, "the caller"), "worker-3": (BASE + 2, "the server")}
    place = start_place(machines=1, patch=speaking(worker_2=BASE - 2, worker_3=BASE + 2))
    settings = place.directory / "settings.toml"
    with open(settings, "a") as file:
        file.writelines(f'[[worker]]\nname = "{worker}"\n' for worker in spoken)
    others = {worker: place.start("worker", "--name", worker, "--settings", str(settings)) for worker in spoken}
    for worker, (version, older) in spoken.items():
        others[worker].wait_for(f"the caller speaks protocol {version}, the server {BASE}: upgrade {older}")
    place.good()
    for other in others.values():
        other.signal(signal.SIGTERM)
        assert other.end() == 0
        assert "Traceback" not in "\n".join(other.lines)
