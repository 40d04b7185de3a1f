"""The programs of an installation that a benchmark is about, as they ship, over loopback."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from fleetcast.launch import installation
from fleetcast.launch.installation import Blueprint
from fleetcast.launch.settings import LOOPBACK
from lab.host import Host
from lab.program import Program, end, pipe, wait_ready


@contextmanager
def installed(directory: Path, blueprint: Blueprint, nouns: Sequence[str]) -> Iterator[Mapping[str, str]]:
    """Make an installation and start these of its programs, one after the other; where each of them answers, by noun.

    Raises :class:`LabError` when one of them does not get ready.
    """
    file = installation.create(directory, blueprint)
    ready = {noun: directory / f"{noun}.ready" for noun in nouns}
    programs: list[Program] = []
    with pipe() as lifeline:
        try:
            for noun in nouns:
                argv = [str(Path(sys.executable).with_name("fleetcast")), noun, "--settings", str(file), "--log-format", "json"]
                argv += ["--ready-file", str(ready[noun]), "--lifeline", str(lifeline.reader)]
                programs.append(Program(noun, Host("loopback", LOOPBACK), argv, directory, pipes=[lifeline.reader]))
                wait_ready([(programs[-1], ready[noun])])
            yield {noun: str(json.loads(ready[noun].read_text())["api"]) for noun in nouns}
        finally:
            end(programs)
