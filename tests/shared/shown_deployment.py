"""A deployment as the API shows it, for tests of what people are told of one."""

from __future__ import annotations

from typing import Any

from fleetcast.model.deployment import Deployment, DeploymentKind, DeploymentState, Progress
from fleetcast.model.ids import ArtifactName, BuildId, CommitSha, DeploymentId, ServiceName

SHA = CommitSha("7e583c86d2de" + "0" * 28)
SIZE = 64 << 20


def a_deployment(state: DeploymentState, **changes: Any) -> Deployment:
    known: dict[str, Any] = {
        "id": DeploymentId("dd3eb8a5b58f3311"),
        "service": ServiceName("web"),
        "environment": "production",
        "kind": DeploymentKind.DEPLOY,
        "sequence": 1,
        "commit_sha": SHA,
        "state": state,
        "reason": "",
        "build": BuildId(5),
        "artifact": ArtifactName(f"web/{SHA}"),
        "release": None,
        "generation": None,
        "created_at_ms": 0,
        "finished_at_ms": None,
        "build_s": 12.4,
        "replicate_s": 3.1,
        "distribute_s": None,
        "artifact_bytes": SIZE,
        "progress": Progress(),
    }
    return Deployment(**{**known, **changes})
