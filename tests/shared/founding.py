"""Makes a company on this machine and brings it up: short intervals, valves in front of every store, a service with gates."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from company import MIB, Company, git
from engine_company import EngineCompany
from fleetcast.cli.demo.engines.servers import CONTROL as GLOBAL
from fleetcast.cli.demo.engines.servers import Servers, bucket_of
from fleetcast.launch import installation
from fleetcast.launch.installation import Blueprint, machine_names
from fleetcast.launch.ports import free_ports
from running import Run, wait_until
from valve import Valve

SILENCE_S_MAX = 6.0
CONTROL = {
    "heartbeat_interval_s": 1.0,
    "heartbeat_silence_s_max": SILENCE_S_MAX,
    "reaper_interval_s": 0.5,
    "build_retry_s": 0.5,
    "replication_check_interval_s": 0.5,
}
REGION = {"kv_poll_interval_s": 0.5, "report_interval_s": 0.5, "agent_report_interval_s": 0.5}
WORKER = {"poll_interval_s": 0.5, "sandbox": "off"}
"""No sandbox: builds look at gates of the host, and are found by their environment."""

EXAMPLE = Path(__file__).parents[2] / "examples" / "web"
RECIPE = """
[build]
command = "while [ -e {gates}/build ]; do sleep 0.1; done; exec python3 build.py"
output = "dist"

[run]
activate = "exec python3 -S -u server.py"
health = "while [ -e {gates}/health ]; do sleep 0.1; done; exec python3 -I -S check.py"
health_timeout_s = 120
"""


def found(temporary: Path, *, regions: Sequence[str], machines: int, workers: int = 1, content_mib: int = 48) -> Company:
    """Make a company and bring it up, with one commit deployed."""
    return _found(temporary, regions, machines, workers, content_mib, None)


def found_on(servers: Servers, temporary: Path, *, regions: Sequence[str], machines: int, content_mib: int) -> EngineCompany:
    """The same on engines that run. The valve in front of the main store is one in front of the S3 server then."""
    company = _found(temporary, regions, machines, 1, content_mib, servers)
    assert isinstance(company, EngineCompany)
    return company


def _found(
    temporary: Path, regions: Sequence[str], machines: int, workers: int, content_mib: int, servers: Servers | None
) -> Company:
    directory = temporary / "company"
    ports = free_ports(Blueprint.ports_needed(len(regions), machines), "127.0.0.1", random.Random())
    main = Valve(ports[1]) if servers is None else Valve(servers.s3.port, servers.s3.address)
    buckets = {region: Valve(ports[3 + 2 * number]) for number, region in enumerate(regions)}
    control = {**CONTROL, "build_attempts_max": 20}
    if servers is None:
        control |= {"data_url": main.url}
    else:
        control |= {**servers.control, "store_url": servers.s3.url(bucket_of(GLOBAL), endpoint=main.url)}
    of_region = {} if servers is None else servers.of_region
    blueprint = Blueprint(workers, regions, machines, ports, control=control, worker=WORKER, region=REGION, of_region=of_region)
    file = installation.create(directory, blueprint)
    text = file.read_text()
    for region, valve in buckets.items():
        head = f'[[region]]\nname = "{region}"\n'
        assert head in text
        text = text.replace(head, f'{head}data_url = "{valve.url}"\n')
    file.write_text(text)
    names = [machine for machine, _ in machine_names(regions, machines)]
    company = (Company if servers is None else partial(EngineCompany, servers=servers))(
        directory=directory,
        regions=regions,
        machines=dict(zip(names, ports[2 + 2 * len(regions) :], strict=True)),
        main=main,
        buckets=buckets,
        content_bytes=content_mib * MIB,
        run=Run("up", str(directory), temporary=temporary),
    )
    try:
        company.gates.mkdir()
        _make_repository(company.repository, RECIPE.format(gates=company.gates))
        company.run.wait_for("^ready")
        assert company.fleetcast("service", "add", "web", str(company.repository)).returncode == 0
        wait_until(lambda: len(company.rows("SELECT * FROM machines")) == machines, "all machines report")
        company.settle(company.deploy())
    except BaseException:
        company.close()
        raise
    return company


def _make_repository(path: Path, recipe: str) -> None:
    shutil.copytree(EXAMPLE, path, ignore=shutil.ignore_patterns("dist", "__pycache__"))
    (path / "fleetcast.toml").write_text(recipe)
    git(path, "init", "--quiet", "--initial-branch=main", ".")
