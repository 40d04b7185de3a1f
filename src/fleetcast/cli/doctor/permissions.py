"""Who may read and write what: secrets are their owner's, nobody else puts files where Fleetcast looks for them, and the user
who runs it may write where it keeps things.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fleetcast.cli.doctor.checks import Check, fail, is_there, ok, warn
from fleetcast.http.tokens import Role, token_path

if TYPE_CHECKING:
    from fleetcast.launch.settings import AgentSettings, ControlSettings, RegionSettings, Settings

_COPY: Final = "fleetcast up makes it, or copy it from the installation"
_MADE_ANEW: Final = "delete it to have a new one made, or copy it again"
_OF_CONTROL: Final = (
    "github_hook_secrets",
    "gitlab_hook_secrets",
    "github_status_token",
    "gitlab_status_token",
    "database_url_file",
)
_OF_STORES: Final = ("store_credentials_file", "kv_user_file", "kv_key_file")
_OTHERS: Final = 0o077
_KEPT: Final = ("fleetcast.db", "kv.db", "bucket")
"""What control and regions have in their directories, as far as it is embedded."""


@dataclass(frozen=True, slots=True)
class _Secret:
    path: Path
    missing: str
    """What to do where it is not there; empty: it need not be."""
    empty: str


def permissions(settings: Settings) -> Iterator[Check]:
    """All there is to say about them."""
    yield from _secrets(settings)
    yield from _open_places(settings)
    yield from _owners(settings)


def _secrets(settings: Settings) -> Iterator[Check]:
    found = {secret.path: secret for secret in _all_secrets(settings)}
    bad = [complaint for _, secret in sorted(found.items()) if (complaint := _look(secret)) is not None]
    yield from bad
    there = sum(is_there(path) for path in found)
    if found and not bad:
        yield ok("secrets", f"{there} files, for their owner only")


def _all_secrets(settings: Settings) -> Iterator[_Secret]:
    paths = {worker.token_file for worker in settings.workers} | {worker.signing_key for worker in settings.workers}
    paths |= {region.token_file for region in settings.regions} | {region.agent_token_file for region in settings.regions}
    paths |= {agent.token_file for agent in settings.agents}
    if settings.control is not None:
        paths |= {token_path(settings.control.secrets, role) for role in Role}
        yield from _named("control", settings.control, (*_OF_CONTROL, *_OF_STORES))
    for region in settings.regions:
        yield from _named("region", region, _OF_STORES)
    for owner in _keepers(settings):
        yield _Secret(owner.directory / "data.key", "", _MADE_ANEW)
    for path in paths:
        yield _Secret(path, _COPY, _MADE_ANEW)


def _named(section: str, owner: ControlSettings | RegionSettings, keys: tuple[str, ...]) -> Iterator[_Secret]:
    for key in keys:
        if (path := getattr(owner, key)) != Path():
            yield _Secret(path, f"write it, or correct {section}.{key}", f"write {section}.{key} into it")


def _look(secret: _Secret) -> Check | None:
    path = secret.path
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & _OTHERS:
            return fail("secrets", f"others may read {path} (mode {mode:04o})", f"chmod 600 {path}")
        with open(path, "rb") as file:
            empty = not file.read(1)
    except FileNotFoundError as error:
        return fail("secrets", f"cannot read {path}: {error.strerror}", secret.missing) if secret.missing else None
    except OSError as error:
        return fail("secrets", f"cannot read {path}: {error.strerror}", "be its owner")
    return fail("secrets", f"{path} is empty", secret.empty) if empty else None


def _open_places(settings: Settings) -> Iterator[Check]:
    """What others may change, and thereby have run what they like; and the databases, which have secrets in them."""
    keys = {path for owner in _trusting(settings) for path in owner.worker_public_keys}
    directories = {path.parent for path in keys} | {secret.path.parent for secret in _all_secrets(settings)}
    directories |= {member.directory for member in (*_keepers(settings), *settings.workers, *settings.agents)}
    for path in sorted(keys | directories):
        mode = _mode(path)
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            yield fail("permissions", f"others may write to {path} (mode {mode:04o})", f"chmod o-w {path}")
    if settings.control is not None and (mode := _mode(settings.control.directory)) & (stat.S_IROTH | stat.S_IXOTH):
        path = settings.control.directory
        says = f"others may look into {path} (mode {mode:04o}), whose databases have secrets in them"
        yield fail("permissions", says, f"chmod 700 {path}")


def _owners(settings: Settings) -> Iterator[Check]:
    """Files that another user left behind, for instance who once started Fleetcast as root."""
    for keeper in _keepers(settings):
        for path in (keeper.directory / name for name in _KEPT):
            if not is_there(path):
                continue
            if path.stat().st_uid != keeper.directory.stat().st_uid:
                says = f"{path} is not of the user who has {keeper.directory}"
                yield warn("permissions", says, f"chown -R --reference={keeper.directory} {path}")
            elif not os.access(path, os.W_OK):
                yield fail("permissions", f"cannot write to {path}", f"run Fleetcast as its owner, or chmod u+w {path}")


def _keepers(settings: Settings) -> tuple[ControlSettings | RegionSettings, ...]:
    return (*((settings.control,) if settings.control is not None else ()), *settings.regions)


def _trusting(settings: Settings) -> Iterator[ControlSettings | RegionSettings | AgentSettings]:
    yield from _keepers(settings)
    yield from settings.agents


def _mode(path: Path) -> int:
    """Of what is not there, or cannot be looked at: none."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return 0
