"""The environment of a build: declared, so that a build does not depend on who started its worker. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Final

from fleetcast.model.build import Recipe
from fleetcast.model.limits import BUILD_ENVIRONMENT_SHOWN_CHARS_MAX
from fleetcast.model.messages.builds import ClaimedBuild

ANY_DIRECTORY_IS_SAFE: Final[Mapping[str, str]] = {
    # The mirror is the worker's, not the build's user's; git would take it for a trap.
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
    "GIT_OPTIONAL_LOCKS": "0",
}


def build_environment(
    claimed: ClaimedBuild, recipe: Recipe, *, path: str, home: str, scratch: str, user: str, added: Mapping[str, str]
) -> dict[str, str]:
    """All that a build's command sees. ``path``: the worker's PATH; ``added``: of the worker's settings. A recipe's wins over
    both; nothing wins over what says which build it is."""
    return {
        "PATH": path,
        "HOME": home,
        "TMPDIR": scratch,
        "USER": user,
        "LOGNAME": user,
        "SHELL": "/bin/sh",
        "LANG": "C.UTF-8",
        "CI": "true",
        **ANY_DIRECTORY_IS_SAFE,
        **added,
        **recipe.build_environment,
        "FLEETCAST_SERVICE": claimed.service,
        "FLEETCAST_COMMIT": claimed.commit_sha,
        "FLEETCAST_ARTIFACT": claimed.name,
        "FLEETCAST_BUILD": str(claimed.build),
    }


def shown(environment: Mapping[str, str]) -> str:
    """It in one line, as a shell would take it."""
    text = " ".join(f"{name}={shlex.quote(value)}" for name, value in sorted(environment.items()))
    cut = text[:BUILD_ENVIRONMENT_SHOWN_CHARS_MAX]
    return cut if cut == text else f"{cut} ... ({len(text)} characters in all)"
