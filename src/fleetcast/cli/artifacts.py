"""``fleetcast artifact``: what a build made."""

from __future__ import annotations

from fleetcast.cli.connection import NO_CONNECTION, Connection
from fleetcast.cli.output import print_json, table


def show(name: str, *, json: bool = False, connection: Connection = NO_CONNECTION) -> None:
    """Show an artifact's signed statement, and where its copies are.

    Parameters
    ----------
    name
        SERVICE/SHA or SERVICE@SHA; SHA.2 for the first rebuild.
    json
        Print it as JSON, the statement as the builder signed it.
    """
    from fleetcast.model.ids import ArtifactName

    detail = connection.ask(lambda control: control.artifact(ArtifactName(name.replace("@", "/"))))
    if json:
        print_json(detail)
        return
    print(f"{detail.name}: {'complete in every bucket, deployable' if detail.deployable else 'not yet in every bucket'}")
    print(table(["BUCKET", "COPY", "WAITS FOR"], [[copy.bucket, copy.status, copy.reason] for copy in detail.replicas]))
