"""Reading ``fleetcast.toml``, the recipe that a commit carries. Pure.

::

    [build]
    command = "make dist"        # run in the worktree; leave it out when there is nothing to build
    output = "dist"              # the file or directory that becomes the artifact
    network = true               # let the command reach the network; it may not by itself
    environment = { MODE = "fast" }  # added to what the command sees

    [run]
    activate = "exec ./server"   # run in the release's directory; while it runs it is the service
    health = "./check"           # run until it exits 0
    health_timeout_s = 30
    drain_s = 60                 # how long it may take to end when it is asked to
    environment = { MODE = "production" }

    [run.health]                 # or, in place of the command:
    http = "http://127.0.0.1:$PORT/health"
    interval_s = 5
    threshold = 3

    [hooks]
    pre_activate = "./migrate"   # each a command, or a table with its time limit
    deactivate = { command = "./drain", timeout_s = 120 }
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from fleetcast.model.build import USER_NAME, Recipe
from fleetcast.model.errors import Invalid
from fleetcast.model.hooks import Hook, HookName, Hooks
from fleetcast.model.limits import (
    HEALTH_TIMEOUT_S_MAX,
    HOOK_TIMEOUT_S,
    HOOK_TIMEOUT_S_MAX,
    RECIPE_BYTES_MAX,
    SERVICE_DRAIN_S_MAX,
)
from fleetcast.model.listening import broken_sockets
from fleetcast.model.probe import Probe, broken_probe

RECIPE_NAME: Final = "fleetcast.toml"

_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "build": ("command", "output", "network", "environment"),
    "run": ("activate", "health", "health_timeout_s", "drain_s", "environment", "sockets", "user"),
    "hooks": tuple(map(str, HookName)),
}
_PROBE_KEYS: Final[Mapping[str, type]] = {
    "command": str,
    "http": str,
    "tcp": str,
    "unit": str,
    "status": int,
    "host": str,
    "grace_s": float,
    "interval_s": float,
    "timeout_s": float,
    "threshold": int,
    "watch": bool,
}
_PROBE_SAYS: Final[Mapping[type, str]] = {
    str: "text in quotes",
    int: "a whole number",
    float: "a number of seconds",
    bool: "true or false",
}
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def parse_recipe(data: bytes) -> Recipe:
    """The recipe in the bytes of a ``fleetcast.toml``.

    Raises:
        Invalid: in one line, which line of the file is wrong and why.
    """
    if len(data) > RECIPE_BYTES_MAX:
        raise _wrong(None, f"it has {len(data)} bytes, at most {RECIPE_BYTES_MAX} are allowed")
    try:
        text = data.decode()
        tables = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise _wrong(data[: error.start].count(b"\n") + 1, "it is not UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        reason = re.sub(r" \(at (line \d+, column \d+|end of document)\)", "", str(error))
        if place is None:
            raise _wrong(text.count("\n") + 1, f"{reason}, and the file ends there") from error
        raise _wrong(int(place[1]), reason, column=int(place[2])) from error
    return _Reader(text, tables).recipe()


def complete_recipe(ordered: Recipe, committed: Recipe | None) -> Recipe:
    """What the build was ordered with, and for the rest what the commit says.

    Raises:
        Invalid: neither names an output.
    """
    recipe = ordered.over(committed) if committed is not None else ordered
    if recipe.output is None:
        missing = "has no [build] output" if committed is not None else "does not exist"
        raise Invalid(
            "no_recipe",
            f"{RECIPE_NAME} {missing} at this commit: commit one, or say --output PATH (and --build CMD) for the service",
        )
    check_output(recipe.output)
    return recipe


def check_output(output: str) -> None:
    """Raises :class:`Invalid` unless ``output`` is a relative path that stays below where it starts."""
    if not output or "\0" in output or output.startswith("/") or ".." in output.split("/"):
        raise Invalid("illegal_output", f"output {output!r} must be a path inside the repository, without '..'")


class _Reader:
    """One file's tables, and its text to find lines in."""

    def __init__(self, text: str, tables: Mapping[str, Any]) -> None:
        self._lines = text.splitlines()
        self._tables = tables

    def recipe(self) -> Recipe:
        self._known("", self._tables, _KEYS)
        for section, keys in _KEYS.items():
            table = self._tables.get(section, {})
            if not isinstance(table, dict):
                raise _wrong(self._line("", section), f"{section} must be a table: write [{section}]")
            self._known(section, table, keys)
        health, probe = self._health()
        recipe = Recipe(
            build=self._text("build", "command"),
            output=self._text("build", "output"),
            activate=self._text("run", "activate"),
            health=health,
            probe=probe,
            health_timeout_s=self._seconds("run", "health_timeout_s", HEALTH_TIMEOUT_S_MAX),
            drain_s=self._seconds("run", "drain_s", SERVICE_DRAIN_S_MAX),
            environment=self._environment("run"),
            build_environment=self._environment("build"),
            network=self._yes_or_no("build", "network"),
            hooks=self._hooks(),
            sockets=self._sockets(),
            user=self._text("run", "user"),
        )
        if recipe.user is not None and not USER_NAME.fits(recipe.user):
            raise _wrong(self._line("run", "user"), f"user must be the name of a user, not {recipe.user!r}")
        if (broken := broken_sockets(recipe.sockets, recipe.activate, recipe.probe)) is not None:
            raise _wrong(self._line("run", "sockets"), broken)
        if recipe.output is not None:
            try:
                check_output(recipe.output)
            except Invalid as error:
                raise _wrong(self._line("build", "output"), error.message) from error
        return recipe

    def _known(self, section: str, table: Mapping[str, Any], known: Iterable[str]) -> None:
        for key in table:
            if key not in known:
                nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
                hint = f"did you mean {nearest[0]!r}?" if nearest else f"known are {', '.join(known)}"
                where = f" in [{section}]" if section else ""
                raise _wrong(self._line(section, key), f"unknown name {key!r}{where}: {hint}")

    def _health(self) -> tuple[str | None, Probe | None]:
        """The command, and what is to be asked instead or how it is to be run."""
        value = self._value("run", "health")
        if not isinstance(value, dict):
            return self._text("run", "health"), None
        self._known("run.health", value, _PROBE_KEYS)
        said: dict[str, Any] = {}
        for key, given in value.items():
            kind = _PROBE_KEYS[key]
            fits = isinstance(given, int | float if kind is float else kind) and (kind is bool or not isinstance(given, bool))
            if not fits or (isinstance(given, str) and "\0" in given):
                raise _wrong(self._line("run.health", key), f"{key} must be {_PROBE_SAYS[kind]}")
            said[key] = float(given) if kind is float else given
        command = said.pop("command", "")
        # A command costs more than a connection: it is run on and on only where that is asked for.
        probe = Probe(**{"watch": not command, **said})
        if (broken := broken_probe(probe, command)) is not None:
            named = next((key for key in value if broken.startswith(f"{key} ")), None)
            raise _wrong(self._line("run.health", named) if named else self._line("run", "health"), broken)
        return command or None, probe

    def _sockets(self) -> tuple[str, ...]:
        value = self._value("run", "sockets")
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(address, str) for address in value):
            raise _wrong(self._line("run", "sockets"), 'sockets must be a list of addresses: ["127.0.0.1:8080"]')
        return tuple(value)

    def _hooks(self) -> Hooks:
        return {name: self._hook(name) for name in HookName if self._value("hooks", name) is not None}

    def _hook(self, name: str) -> Hook:
        value = self._value("hooks", name)
        if not isinstance(value, dict):
            return Hook(self._checked_text("hooks", name, value))
        place = f"hooks.{name}"
        self._known(place, value, ("command", "timeout_s"))
        line = self._line("hooks", name)
        if "command" not in value:
            raise _wrong(line, f"{name} has no command")
        timeout_s = self._checked_seconds("timeout_s", value.get("timeout_s", HOOK_TIMEOUT_S), HOOK_TIMEOUT_S_MAX, line)
        return Hook(self._checked_text("hooks", name, value["command"]), timeout_s)

    def _value(self, section: str, key: str) -> Any:
        return self._tables.get(section, {}).get(key)

    def _text(self, section: str, key: str) -> str | None:
        value = self._value(section, key)
        return None if value is None else self._checked_text(section, key, value)

    def _checked_text(self, section: str, key: str, value: object) -> str:
        if not isinstance(value, str) or "\0" in value:
            raise _wrong(self._line(section, key), f"{key} must be text in quotes")
        return value

    def _seconds(self, section: str, key: str, s_max: float) -> float | None:
        value = self._value(section, key)
        return None if value is None else self._checked_seconds(key, value, s_max, self._line(section, key))

    def _checked_seconds(self, key: str, value: object, s_max: float, line: int | None) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not 0 < value <= s_max:
            raise _wrong(line, f"{key} must be a number of seconds above 0, at most {s_max:g}")
        return float(value)

    def _yes_or_no(self, section: str, key: str) -> bool | None:
        value = self._value(section, key)
        if value is not None and not isinstance(value, bool):
            raise _wrong(self._line(section, key), f"{key} must be true or false")
        return value

    def _environment(self, section: str) -> dict[str, str]:
        value = self._value(section, "environment")
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise _wrong(self._line(section, "environment"), 'environment must be a table of NAME = "value"')
        for name, text in value.items():
            line = self._line(f"{section}.environment", name)
            if not _VARIABLE.fullmatch(name) or name.startswith("FLEETCAST_"):
                raise _wrong(line, f"{name!r} cannot be set: use letters, digits and '_', and not FLEETCAST_...")
            if not isinstance(text, str) or "\0" in text:
                raise _wrong(line, f"{name} must be text: write it in quotes")
        return value

    def _line(self, section: str, key: str) -> int | None:
        """The line that says ``key`` in ``section``, or ``section`` in the one around it, as far as can be told without a TOML
        parser that keeps positions.
        """
        current = ""
        for number, line in enumerate(self._lines, 1):
            header = re.match(r"\s*\[\s*([^]]*?)\s*\]", line)
            if header:
                current = header[1]
                if current == f"{section}.{key}" or (not section and current.split(".")[0] == key):
                    return number
            elif current == section and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[.=]", line):
                return number
        around, _, name = section.rpartition(".")
        return self._line(around, name) if section else None


def _wrong(line: int | None, reason: str, column: int | None = None) -> Invalid:
    where = (f", line {line}" if line is not None else "") + (f", column {column}" if column is not None else "")
    return Invalid("invalid_recipe", f"{RECIPE_NAME}{where}: {reason}")
