"""What the commands of a service see."""

from __future__ import annotations

import os
from collections.abc import Mapping

from fleetcast.agent.layout import ServiceKey, ServiceLayout
from fleetcast.model.artifact import Root
from fleetcast.model.goal import ReleaseRef
from fleetcast.model.hooks import HookName
from fleetcast.model.ids import DeploymentId
from fleetcast.model.machine import Machine

_RELEASE = "FLEETCAST_RELEASE"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def service_environment(
    key: ServiceKey, layout: ServiceLayout, release: ReleaseRef, root: Root, machine: Machine, local: Mapping[str, str]
) -> dict[str, str]:
    """The environment of a release's activation command and health check, but for the id of the instance.

    Of the agent's own only ``PATH``, ``HOME`` and ``LANG`` are passed on. ``local`` (of this machine) wins over the
    recipe's; the names of ``FLEETCAST_*`` listed here over both.
    """
    return {
        "PATH": os.environ.get("PATH", _PATH),
        "HOME": os.environ.get("HOME", "/"),
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        **root.environment,
        **local,
        "FLEETCAST_SERVICE": key.service,
        "FLEETCAST_ENVIRONMENT": key.environment,
        "FLEETCAST_MACHINE": machine.id,
        "FLEETCAST_REGION": machine.region,
        "FLEETCAST_COMMIT": root.commit_sha,
        "FLEETCAST_ARTIFACT": release.artifact,
        _RELEASE: str(layout.tree(release.digest)),
        "FLEETCAST_DATA": str(layout.data),
    }


def hook_environment(
    service: Mapping[str, str],
    name: HookName,
    deployment: DeploymentId | None,
    *,
    leaving: ReleaseRef | None,
    coming: ReleaseRef | None,
) -> dict[str, str]:
    """What a hook sees over what its ``service`` sees. ``leaving`` and ``coming``: what is in service before and after what
    is going on; ``None``: nothing.
    """
    environment = {
        **service,
        "FLEETCAST_HOOK": name,
        "FLEETCAST_DEPLOYMENT": deployment or "",
        "FLEETCAST_FROM": leaving.artifact if leaving else "",
        "FLEETCAST_TO": coming.artifact if coming else "",
    }
    if name is HookName.PRE_FETCH:
        # There is no such directory yet.
        del environment[_RELEASE]
    return environment
