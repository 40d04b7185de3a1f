"""Which value holds, who said so, and what each setting is for."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from fleetcast.launch import sources
from fleetcast.launch.effective import Source, documentation, effective
from fleetcast.launch.sources import SECTIONS
from fleetcast.model.errors import Invalid

FILE = """
[control]
port = 9001

[[agent]]
machine = "eu-1"
labels = { role = "web" }

[[agent]]
machine = "eu-2"
zone = "b"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize(("section", "key"), [(name, field.name) for name, kind in SECTIONS.items() for field in fields(kind)])
def test_every_setting_says_what_it_is_for(section: str, key: str) -> None:
    about = documentation(SECTIONS[section])[key]
    assert about.endswith("."), f"{section}.{key} needs a docstring in launch/settings.py"


def test_the_source_of_a_value_is_the_one_that_won(file: Path) -> None:
    environ = {"FLEETCAST_CONTROL_PORT": "9002", "FLEETCAST_AGENT_ZONE": "a", "PATH": "/bin"}
    found = effective(file, environ=environ, flags=["control.port=9003"])

    def of(table: str, key: str) -> list[tuple[str, Any, Source]]:
        return [(item.name, item.value, item.source) for item in found if (item.table, item.key) == (table, key)]

    assert of("control", "port") == [("", 9003, Source.FLAG)]
    assert of("control", "host") == [("", "127.0.0.1", Source.DEFAULT)]
    assert of("control", "directory") == [("", str(file.parent / "control"), Source.DEFAULT)]
    assert of("agent", "machine") == [("eu-1", "eu-1", Source.FILE), ("eu-2", "eu-2", Source.FILE)]
    assert of("agent", "zone") == [("eu-1", "a", Source.ENVIRONMENT), ("eu-2", "a", Source.ENVIRONMENT)]
    assert of("agent", "labels") == [("eu-1", {"role": "web"}, Source.FILE), ("eu-2", {}, Source.DEFAULT)]
    given = {item.given_by for item in found if item.source is not Source.DEFAULT}
    assert given == {"--set control.port=9003", "environment variable FLEETCAST_AGENT_ZONE", str(file)}


@pytest.mark.parametrize("variable", ["FLEETCAST_CONTORL_PORT", "FLEETCAST_AGNET_ZONE", "FLEETCAST_REGIONS_DATA_PORT"])
def test_a_slip_in_a_variables_table_is_found(file: Path, variable: str) -> None:
    with pytest.raises(Invalid, match="did you mean 'FLEETCAST_"):
        sources.load(file, environ={variable: "1"})
