"""Where settings come from: a TOML file, then the environment (``FLEETCAST_CONTROL_PORT``), then flags (``control.port=7401``).

A key nobody knows is refused with the nearest one that exists, wherever it comes from.
"""

from __future__ import annotations

import difflib
import math
import tomllib
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import msgspec

from fleetcast.launch.key_values import etcd_of
from fleetcast.launch.settings import AgentSettings, ControlSettings, RegionSettings, Settings, WorkerSettings
from fleetcast.model.errors import Invalid, NotFound
from fleetcast.model.ids import machine_id, region_name
from fleetcast.model.limits import MACHINE_SILENCE_S_MAX, RATE_BYTES_PER_S_MIN, WORKER_SLOTS_MAX
from fleetcast.stores.rates import UNLIMITED

if TYPE_CHECKING:
    from fleetcast.stores.etcd_access import EtcdAccess

SECTIONS: Final[Mapping[str, type[Any]]] = {
    "control": ControlSettings,
    "worker": WorkerSettings,
    "region": RegionSettings,
    "agent": AgentSettings,
}
SETTINGS_VARIABLE: Final = "FLEETCAST_SETTINGS"
DEFAULT_FILE: Final = Path("fleetcast-data/settings.toml")
PORT_MAX: Final = 65_535
_VARIABLES: Final = tuple(f"FLEETCAST_{section.upper()}_" for section in SECTIONS)
NOT_SETTINGS: Final = frozenset({"FLEETCAST_CONTROL_URL"})
"""Read by the command line (cli/connection.py)."""

Table = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Override:
    """One value given as text, and where."""

    section: str
    key: str
    text: str
    source: str


def settings_file(given: Path | None, environ: Mapping[str, str]) -> Path:
    """The settings file to use: as given, else ``$FLEETCAST_SETTINGS``, else ``fleetcast-data/settings.toml`` here.

    A directory stands for the installation in it.
    """
    named = (given or Path(environ.get(SETTINGS_VARIABLE) or DEFAULT_FILE)).absolute()
    return named / DEFAULT_FILE.name if named.is_dir() else named


def load(file: Path, *, environ: Mapping[str, str], flags: Sequence[str] = ()) -> Settings:
    """Settings from ``file``, ``environ`` and ``flags`` (each ``section.key=value``). Overrides of ``[[worker]]`` and the like
    hold for all of them.

    Raises:
        NotFound: there is no such file.
        Invalid: malformed, an unknown key, or a value of the wrong kind; the message says where.
    """
    tables, overrides = read_tables(file), given(environ, flags)
    settings = Settings(
        control=next(
            _section(ControlSettings, "control", [tables["control"]] if "control" in tables else [], overrides, file), None
        ),
        workers=tuple(_section(WorkerSettings, "worker", tables.get("worker", []), overrides, file)),
        regions=tuple(_section(RegionSettings, "region", tables.get("region", []), overrides, file)),
        agents=tuple(_section(AgentSettings, "agent", tables.get("agent", []), overrides, file)),
        directory=file.parent,
    )
    return _completed(settings, file)


def given(environ: Mapping[str, str], flags: Sequence[str]) -> tuple[Override, ...]:
    """What environment and flags say, the winner last. Raises :class:`Invalid` for an unknown setting."""
    return (*_from_environ(environ), *_from_flags(flags))


def read_tables(file: Path) -> Table:
    """The file as TOML has it, its tables known ones. Raises as :func:`load`."""
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFound(
            "no_settings",
            f"there is no settings file {file}: 'fleetcast up' makes an installation, --settings FILE names another",
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise Invalid("bad_settings", f"{file}: {error}: correct it there") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise Invalid("bad_settings", f"{file}, line {line}: it is not UTF-8: save it as that") from None
    except OSError as error:
        raise Invalid("bad_settings", f"{file} cannot be read: {error.strerror}") from None
    for name, value in tables.items():
        if name not in SECTIONS:
            _refuse_unknown(name, SECTIONS, f"{file}: there is no table")
        form, fits = (f"[{name}]", isinstance(value, dict)) if name == "control" else (f"[[{name}]]", _is_tables(value))
        if not fits:
            raise Invalid("bad_settings", f"{file}: {name} is written as {form}")
    return tables


def _is_tables(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _from_environ(environ: Mapping[str, str]) -> Iterator[Override]:
    for variable, text in sorted(environ.items()):
        if variable.startswith(_VARIABLES) and variable not in NOT_SETTINGS:
            section, key = variable.removeprefix("FLEETCAST_").lower().split("_", 1)
            yield _known_override(section, key, text, f"environment variable {variable}")
        elif variable.startswith("FLEETCAST_"):
            _refuse_misspelt(variable)


def _refuse_misspelt(variable: str) -> None:
    """Many a variable begins like this and is no setting. One that is a setting but for a slip in the table's name is none."""
    section, _, key = variable.removeprefix("FLEETCAST_").lower().partition("_")
    meant = difflib.get_close_matches(section, SECTIONS, n=1, cutoff=0.7)
    if meant and meant[0] != section and key in (field.name for field in fields(SECTIONS[meant[0]])):
        hint = f"did you mean 'FLEETCAST_{meant[0].upper()}_{key.upper()}'?"
        raise Invalid("unknown_setting", f"environment variable {variable}: there is no table {section!r}: {hint}")


def _from_flags(flags: Sequence[str]) -> Iterator[Override]:
    for flag in flags:
        name, equals, text = flag.partition("=")
        section, dot, key = name.strip().partition(".")
        if not (equals and dot):
            raise Invalid("bad_setting", f"--set {flag}: expected SECTION.KEY=VALUE, for instance control.port=7401")
        if section not in SECTIONS:
            _refuse_unknown(section, SECTIONS, f"--set {flag}: there is no table")
        yield _known_override(section, key, text.strip(), f"--set {flag}")


def _known_override(section: str, key: str, text: str, source: str) -> Override:
    _check_keys([key], section, source)
    return Override(section, key, text, source)


def _section(kind: type[Any], name: str, tables: Iterable[Table], overrides: Iterable[Override], file: Path) -> Iterator[Any]:
    types = typing.get_type_hints(kind)
    mine = [override for override in overrides if override.section == name]
    for table in tables:
        _check_keys(table, name, str(file))
        values = {key: _value(value, types[key], f"{file}: {name}.{key}") for key, value in table.items()}
        values |= {said.key: _value(_parsed(said, types[said.key]), types[said.key], said.source) for said in mine}
        for key, value in values.items():
            _check_number(key, value, f"{file}: {name}.{key}")
        filled = kind(**values)
        yield replace(filled, **{key: _absolute(getattr(filled, key), file.parent) for key in types})


def _check_keys(keys: Iterable[str], section: str, source: str) -> None:
    known = [field.name for field in fields(SECTIONS[section])]
    for key in keys:
        if key not in known:
            _refuse_unknown(key, known, f"{source}: [{section}] has no setting")


def _refuse_unknown(name: str, known: Iterable[str], what: str) -> NoReturn:
    choices = list(known)
    nearest = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are {', '.join(choices)}"
    raise Invalid("unknown_setting", f"{what} {name!r}: {hint}")


def _parsed(given: Override, kind: object) -> object:
    """Text from environment or flags: as it stands for names and paths, a TOML value for everything else."""
    if kind in (str, Path):
        return given.text
    try:
        return tomllib.loads(f"value = {given.text}")["value"]
    except tomllib.TOMLDecodeError:
        raise Invalid("bad_setting", f"{given.source}: {given.text!r} is not a TOML value") from None


def _value(value: object, kind: Any, source: str) -> object:
    try:
        return msgspec.convert(value, kind, dec_hook=_decode_path)
    except msgspec.ValidationError as error:
        raise Invalid("bad_setting", f"{source}: {error}") from None


_MAY_BE_NOTHING: Final = {
    *("drain_s_max", "retention_grace_s", "releases_more", "releases_more_days", "releases_more_bytes"),
    *(f"{tier}_retention_{bound}" for tier in ("main", "region") for bound in ("days", "count", "bytes")),
}


def _check_number(key: str, value: object, what: str) -> None:
    """Ports are ports, a rate is none or enough, and a time or a count of nothing would stop, or spin, what it is for."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    if key.endswith("port"):
        if not 0 <= value <= PORT_MAX:
            raise Invalid("bad_setting", f"{what} is {value:g}: a port is a number up to {PORT_MAX}, 0 picks a free one")
    elif key.endswith("_percent"):
        if not 0 <= value < 100:
            raise Invalid("bad_setting", f"{what} is {value:g}: it must be 0 to 99")
    elif key.endswith("bytes_per_s"):
        if value != UNLIMITED and value < RATE_BYTES_PER_S_MIN:
            raise Invalid(
                "bad_setting",
                f"{what} is {value}: it must be at least {RATE_BYTES_PER_S_MIN} (about 1 Mbit/s), or 0 for no limit",
            )
    elif key in _MAY_BE_NOTHING and value == 0:
        return
    elif not 0 < value < math.inf:
        raise Invalid("bad_setting", f"{what} is {value:g}: it must be more than 0, and finite")


def _decode_path(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise msgspec.ValidationError("expected a path")


def _absolute(value: object, base: Path) -> object:
    """Paths count from the settings file; an empty one stays empty until :func:`_completed`."""
    if isinstance(value, Path):
        return base / value if value != Path() else value
    if isinstance(value, tuple):
        return tuple(_absolute(item, base) for item in value)
    return value


def _completed(settings: Settings, file: Path) -> Settings:
    """With what one table leaves open taken from the others, and names checked."""
    _refuse_twins("worker", [worker.name for worker in settings.workers], file)
    _refuse_twins("region", [region_name(region.name) for region in settings.regions], file)
    _refuse_twins("agent", [machine_id(agent.machine) for agent in settings.agents], file)
    _check_relations(settings, file)
    control_url = settings.control.public_url if settings.control else ""
    regions = tuple(
        replace(
            region,
            control_url=region.control_url or control_url,
            directory=_or_default(region.directory, file, "regions", region.name),
        )
        for region in settings.regions
    )
    urls = {region.name: region.public_url for region in regions}
    return replace(
        settings,
        workers=tuple(
            replace(
                worker,
                control_url=worker.control_url or control_url,
                directory=_or_default(worker.directory, file, "workers", worker.name),
            )
            for worker in settings.workers
        ),
        regions=regions,
        agents=tuple(
            replace(
                agent,
                region_url=agent.region_url or urls.get(agent.region, ""),
                directory=_or_default(agent.directory, file, "machines", agent.machine),
            )
            for agent in settings.agents
        ),
    )


def _check_relations(settings: Settings, file: Path) -> None:
    """Whoever speaks at an interval must be waited for at least two of them."""
    control = settings.control
    if control is not None and control.heartbeat_silence_s_max < 2 * control.heartbeat_interval_s:
        raise Invalid(
            "bad_setting",
            f"{file}: control.heartbeat_silence_s_max is {control.heartbeat_silence_s_max:g}: "
            f"it must be at least twice heartbeat_interval_s ({control.heartbeat_interval_s:g})",
        )
    _check_stores(settings, file)
    _check_key_values(settings, file)
    for worker in settings.workers:
        if worker.slots > WORKER_SLOTS_MAX:
            raise Invalid(
                "bad_setting",
                f"{file}: worker.slots is {worker.slots}: a worker has at most {WORKER_SLOTS_MAX}, run another one",
            )
    for region in settings.regions:
        # One that looks at its machines more rarely would take each look for the first after a stop.
        for key in ("report_interval_s", "agent_report_interval_s"):
            interval_s, most_s = getattr(region, key), MACHINE_SILENCE_S_MAX / 2
            if interval_s > most_s:
                raise Invalid(
                    "bad_setting",
                    f"{file}: region.{key} is {interval_s:g}: "
                    f"it must be at most {most_s:g}, half of the time after which a machine counts as silent",
                )


def _check_stores(settings: Settings, file: Path) -> None:
    """Two buckets in one place would delete each other's blobs."""
    named = {f"region {region.name}": region.store_url for region in settings.regions if region.store_url}
    if settings.control is not None and settings.control.store_url:
        named["control"] = settings.control.store_url
    if not named:
        return
    from fleetcast.stores.s3_address import S3Address, s3_address

    owners: dict[S3Address, str] = {}
    for owner, url in named.items():
        try:
            address = s3_address(url)
        except Invalid as error:
            raise Invalid(error.code, f"{file}: store_url of {owner}: {error.message}") from None
        if address in owners:
            both = f"{owners[address]} and {owner}"
            raise Invalid("bad_setting", f"{file}: {both} have the same store_url: give each a bucket or a prefix of its own")
        owners[address] = owner


def _check_key_values(settings: Settings, file: Path) -> None:
    """Two stores in one place would delete each other's records."""
    named: dict[str, ControlSettings | RegionSettings] = {f"region {region.name}": region for region in settings.regions}
    if settings.control is not None:
        named["control"] = settings.control
    found: list[tuple[str, EtcdAccess]] = []
    for owner, section in named.items():
        try:
            access = etcd_of(section)
        except Invalid as error:
            raise Invalid(error.code, f"{file}: {owner}: {error.message}") from None
        if access is None:
            continue
        for other, others in found:
            if access.meets(others):
                both = f"{other} and {owner}"
                raise Invalid(
                    "bad_setting", f"{file}: {both} have the same kv_url: give each a prefix of its own, or other servers"
                )
        found.append((owner, access))


def _refuse_twins(kind: str, names: Sequence[str], file: Path) -> None:
    if twins := {name for name in names if names.count(name) > 1}:
        raise Invalid("duplicate_name", f"{file}: two [[{kind}]] tables are called {min(twins)!r}: rename one")


def _or_default(directory: Path, file: Path, kind: str, name: str) -> Path:
    return directory if directory != Path() else file.parent / kind / name
