"""Hooks: commands that ship with a release and are run on each machine at certain moments of its life there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final, TypeAlias

from fleetcast.model.limits import HOOK_TIMEOUT_S, HOOK_TIMEOUT_S_MAX
from fleetcast.model.spelling import TEXT, Spelling, stated


class HookName(StrEnum):
    """When it is run."""

    PRE_FETCH = "pre_fetch"
    """Before anything of the release but its signed root is fetched: the command is all there is of it by then."""
    PRE_ACTIVATE = "pre_activate"
    """With the release whole on disk and its turn come, before a permit is asked for and anything is stopped."""
    POST_ACTIVATE = "post_activate"
    """After the release was found healthy, before it counts as active."""
    DEACTIVATE = "deactivate"
    """Of a release that was in service, before it is stopped for another one or for good."""


@dataclass(frozen=True, slots=True)
class Hook:
    command: Annotated[str, TEXT.meta]
    """Run by ``/bin/sh -c``."""
    timeout_s: Annotated[float, stated(exclusiveMinimum=0, maximum=HOOK_TIMEOUT_S_MAX)] = HOOK_TIMEOUT_S
    """After so long everything that it started is ended, and it has failed."""


HOOK_NAME: Final = Spelling(f"({'|'.join(HookName)})")
Hooks: TypeAlias = Mapping[Annotated[str, HOOK_NAME.meta], Hook]
"""By :class:`HookName`."""


def broken_hooks(hooks: Hooks) -> str | None:
    """What no machine could carry out, in one line; ``None`` when all is well."""
    for name, hook in hooks.items():
        if not HOOK_NAME.fits(name):
            return f"{name!r} is no hook that is known here: known are {', '.join(HookName)}"
        if not TEXT.fits(hook.command):
            return f"{name} contains a NUL character"
        # Not written as two comparisons that NaN would pass.
        if not 0 < hook.timeout_s <= HOOK_TIMEOUT_S_MAX:
            return f"timeout_s of {name} must be a number of seconds above 0, at most {HOOK_TIMEOUT_S_MAX}"
    return None
