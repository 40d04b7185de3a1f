"""Names and files of units."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetcast.agent.unit_text import SERVICE, SOCKETS, Place, Terms, file_text, template, unit

PLACE = Place("/srv/machines/m1/services/production/web", "production", "web")
TERMS = Terms("/opt/fleetcast/bin/python", "/opt/fleetcast/unit_start.py", "/srv/run", 10.0, (1024, -1))
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
INSTANCE = "0" * 32


def test_a_unit_is_found_by_the_name_of_its_service() -> None:
    assert re.fullmatch(r"fleetcast-web\.production-[0-9a-f]{8}@0{32}\.service", unit(PLACE, SERVICE, INSTANCE))
    assert unit(PLACE, SOCKETS, INSTANCE) == unit(PLACE, SERVICE, INSTANCE).replace("@", "-sockets@")


@given(base=st.text(min_size=1), environment=NAMES, service=NAMES, other=st.text(min_size=1))
def test_neither_services_nor_agents_share_a_name(base: str, environment: str, service: str, other: str) -> None:
    place = Place(f"{base}/services/{environment}/{service}", environment, service)
    elsewhere = replace(place, base=f"{other}/services/{environment}/{service}")
    names = {template(each, kind) for each in {place, elsewhere} for kind in (SERVICE, SOCKETS)}
    assert len(names) == 2 * len({place, elsewhere})
    for name in names:
        assert re.fullmatch(r"[a-zA-Z0-9._-]{1,200}", name), "systemd takes it as it is"


def test_a_directory_that_is_odd_is_one_word_and_expands_to_nothing() -> None:
    interpreter, program = '/opt/my "own" 100%/py\\thon', "/opt/$HOME/${x}/start.py"
    terms = replace(TERMS, interpreter=interpreter, program=program, directory="/srv/100% mine")
    text = file_text(PLACE, SERVICE, terms)
    assert r'ExecStart="/opt/my \"own\" 100%%/py\\thon" "-I" "-S" "/opt/$$HOME/$${x}/start.py" %i.gate' in text
    assert "WorkingDirectory=/srv/100%% mine\n" in text


@pytest.mark.parametrize("line", ["KillMode=control-group", "TimeoutStopSec=10", "LimitNOFILE=1024:infinity", "Restart=no"])
def test_who_starts_it_again_is_the_agent_and_it_ends_whole(line: str) -> None:
    assert line in file_text(PLACE, SERVICE, TERMS).splitlines()


def test_it_ends_before_what_it_needs_until_its_end() -> None:
    lines = [line.split("=", 1) for line in file_text(PLACE, SERVICE, TERMS).splitlines() if "=" in line]
    (after,) = [value.split() for name, value in lines if name == "After"]
    assert {"local-fs.target", "remote-fs.target", "network.target", "network-online.target", "nss-lookup.target"} <= {*after}
    assert not [name for name, _ in lines if name in ("Wants", "Requires", "BindsTo")], "it pulls in nothing"


@given(base=st.text(min_size=1))
def test_nobody_writes_lines_into_a_unit(base: str) -> None:
    strange = Place(base, "production", "web")
    plain = file_text(PLACE, SERVICE, TERMS).count("\n")
    assert file_text(strange, SERVICE, TERMS).count("\n") == plain
