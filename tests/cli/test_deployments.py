"""What people are told of a deployment that they have done something to."""

from __future__ import annotations

import pytest

from fleetcast.cli.deployments import ends_within, must_be_in
from fleetcast.model.deployment import DeploymentState
from fleetcast.model.errors import Incompatible
from shown_deployment import a_deployment


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (
            DeploymentState.BUILDING,
            "once it is built it has ended within 45 min whatever happens, pauses, holds and its turn in line apart",
        ),
        (
            DeploymentState.REPLICATING,
            "it has ended within 45 min whatever happens, pauses, holds and its turn in line apart",
        ),
        (DeploymentState.DISTRIBUTING, "it has ended within 45 min whatever happens, pauses and holds apart"),
    ],
)
def test_within_what_it_ends_and_what_is_apart(state: DeploymentState, said: str) -> None:
    assert ends_within(a_deployment(state, bound_s=2700.0)) == [said]


def test_nothing_is_said_of_that_where_control_does_not() -> None:
    assert ends_within(a_deployment(DeploymentState.DISTRIBUTING)) == []


def test_a_control_that_did_it_in_another_environment_is_not_believed() -> None:
    """It is of the version before: it knows environments, and does not see that the request names one."""
    done = a_deployment(DeploymentState.DISTRIBUTING)
    must_be_in(done, None)
    must_be_in(done, "production")
    with pytest.raises(Incompatible, match=r"of an older version, and did it in production: .* dd3eb8a5b58f3311; upgrade it"):
        must_be_in(done, "staging")
