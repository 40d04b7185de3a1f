"""Settings: one file, then the environment, then flags; what nobody knows is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetcast.launch import sources
from fleetcast.model.errors import Invalid, NotFound

FILE = """
[control]
port = 9001

[[worker]]
name = "w1"

[[region]]
name = "eu"
port = 9010

[[agent]]
machine = "eu-1"
region = "eu"
environment = { PORT = "9100" }

[[agent]]
machine = "us-1"
region = "us"
region_url = "http://10.0.0.7:7411"
directory = "/srv/us-1"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text(FILE)
    return path


def test_what_one_table_leaves_open_comes_from_the_others(file: Path) -> None:
    settings = sources.load(file, environ={})
    assert settings.worker(None).control_url == "http://127.0.0.1:9001"
    assert settings.region("eu").control_url == "http://127.0.0.1:9001"
    assert settings.agent("eu-1").region_url == "http://127.0.0.1:9010"
    assert settings.agent("us-1").region_url == "http://10.0.0.7:7411"


def test_paths_count_from_the_file(file: Path) -> None:
    settings = sources.load(file, environ={})
    assert settings.worker("w1").directory == file.parent / "workers" / "w1"
    assert settings.agent("eu-1").token_file == file.parent / "secrets" / "agent.token"
    assert settings.agent("us-1").directory == Path("/srv/us-1")
    assert settings.region("eu").worker_public_keys == (file.parent / "keys" / "worker.pub",)


def test_environment_wins_over_file_and_flags_over_both(file: Path) -> None:
    environ = {"FLEETCAST_CONTROL_PORT": "9002", "FLEETCAST_AGENT_ZONE": "a", "FLEETCAST_AGENT_LABELS": '{ role = "web" }'}
    settings = sources.load(file, environ=environ, flags=["control.port=9003", "control.reaper_interval_s=0.5"])
    assert settings.control is not None
    assert (settings.control.port, settings.control.reaper_interval_s) == (9003, 0.5)
    assert [(agent.zone, dict(agent.labels)) for agent in settings.agents] == [("a", {"role": "web"})] * 2


def test_other_variables_are_left_alone(file: Path) -> None:
    """What agents tell services has the same beginning, and a service may run this program."""
    environ = {"FLEETCAST_REGION": "eu", "FLEETCAST_SERVICE": "web", "FLEETCAST_CONTROL_URL": "http://127.0.0.1:1", "PATH": ""}
    assert sources.load(file, environ=environ) == sources.load(file, environ={})


@pytest.mark.parametrize(
    ("text", "environ", "flags", "expected"),
    [
        ("[control]\nprot = 1", {}, [], "did you mean 'port'?"),
        ("[contrl]", {}, [], "did you mean 'control'?"),
        ("[control]\nport = 'x'", {}, [], "control.port: Expected `int`, got `str`"),
        ("[control]\nport = 70000", {}, [], "control.port is 70000: a port is"),
        ("[control]\nreaper_interval_s = 0", {}, [], "control.reaper_interval_s is 0: it must be more than 0"),
        ("[[region]]\norigin_bytes_per_s = -1", {}, [], "region.origin_bytes_per_s is -1: it must be at least 131072"),
        ("[[agent]]\nupload_bytes_per_s = 1000", {}, [], "(about 1 Mbit/s), or 0 for no limit"),
        ("[[agent]]\nbackground = 0", {}, [], "agent.background: Expected `bool`, got `int`"),
        ("[[region]]\nkv_poll_interval_s = nan", {}, [], "kv_poll_interval_s is nan"),
        ("[control]", {}, ["control.heartbeat_interval_s=400"], "at least twice heartbeat_interval_s (400)"),
        ("[[region]]\nagent_report_interval_s = 45", {}, [], "region.agent_report_interval_s is 45: it must be at most 30"),
        ("[[region]]\nreport_interval_s = 31", {}, [], "region.report_interval_s is 31: it must be at most 30"),
        ("[worker]\nname = 'w'", {}, [], "worker is written as [[worker]]"),
        ("[[control]]", {}, [], "control is written as [control]"),
        ("[control]\nport = ,", {}, [], "line 2"),
        ("[control]", {"FLEETCAST_CONTROL_PROT": "1"}, [], "FLEETCAST_CONTROL_PROT: [control] has no setting 'prot'"),
        ("[control]", {"FLEETCAST_CONTROL_PORT": "one"}, [], "environment variable FLEETCAST_CONTROL_PORT"),
        ("[control]", {}, ["port=1"], "expected SECTION.KEY=VALUE"),
        ("[control]", {}, ["contrl.port=1"], "did you mean 'control'?"),
        ("[[agent]]\nmachine = 'a'\n[[agent]]\nmachine = 'a'", {}, [], "two [[agent]] tables are called 'a'"),
        ("[[agent]]\nmachine = 'A_1'", {}, [], "not a legal name"),
    ],
)
def test_nonsense_is_refused_in_one_line(
    tmp_path: Path, text: str, environ: dict[str, str], flags: list[str], expected: str
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(text)
    with pytest.raises(Invalid) as caught:
        sources.load(file, environ=environ, flags=flags)
    assert expected in caught.value.message
    assert "\n" not in caught.value.message


def test_a_machine_may_have_limits_and_no_marks(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("[[agent]]\nupload_bytes_per_s = 131_072\nbackground = false")
    agent = sources.load(file, environ={"FLEETCAST_AGENT_DOWNLOAD_BYTES_PER_S": "25_000_000"}).agent(None)
    assert (agent.upload_bytes_per_s, agent.download_bytes_per_s, agent.background) == (131_072, 25_000_000, False)


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="fleetcast up"):
        sources.load(tmp_path / "none.toml", environ={})


def test_the_process_to_run_is_named_where_there_are_several(file: Path) -> None:
    settings = sources.load(file, environ={})
    assert settings.region(None).name == "eu"
    with pytest.raises(Invalid, match="name one of eu-1, us-1"):
        settings.agent(None)
    with pytest.raises(NotFound, match="they have eu-1, us-1"):
        settings.agent("mars-1")
