"""The stories a demo tells: four deployments of the example, or one of anybody's repository."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from fleetcast.cli.demo.company import Company
from fleetcast.cli.demo.machines import look
from fleetcast.cli.demo.narration import Narrator
from fleetcast.cli.demo.repository import Commit, make_example
from fleetcast.cli.deployments import describe
from fleetcast.cli.failures import end_of_log
from fleetcast.cli.output import short
from fleetcast.cli.picture.following import has_ended
from fleetcast.model.build import Recipe
from fleetcast.model.deployment import Deployment, DeploymentState
from fleetcast.model.errors import FleetcastError
from fleetcast.model.ids import BuildId, CommitSha, ServiceName
from fleetcast.model.messages.deployments import DeploymentDetail, DeployRequest, RollbackRequest
from fleetcast.model.messages.services import ServiceSpec


class EndedBadly(FleetcastError):
    """A deployment of the demo did not end as it should have."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """Anybody's repository, and the commit of it to deploy."""

    service: ServiceName
    repository: str
    commit: CommitSha
    recipe: Recipe


class Story:
    """One run. ``told`` has every deployment so far, in the order they were triggered, also when the story ends early."""

    def __init__(self, company: Company, narrator: Narrator) -> None:
        self._company = company
        self._narrator = narrator
        self._told: list[Deployment] = []

    @property
    def told(self) -> tuple[Deployment, ...]:
        return tuple(self._told)

    async def of_the_example(self) -> None:
        """Deploy A; deploy B; trigger C while B is going out; roll back.

        Raises:
            EndedBadly: a deployment, or what the machines run afterwards, is not as it should be.
        """
        repository = self._company.directory / "web.git"
        a, b, c = await asyncio.to_thread(make_example, repository, self._company.size.payload_bytes)
        spec = ServiceSpec(ServiceName("web"), str(repository))
        await self._company.control.put_service(spec)
        await self._deploy("A", spec, a)
        second = await self._trigger("B", spec, b)
        going_out = await self._narrator.follow(self._company.control, second.id, "B", _distributing)
        self._narrator.say(f"B is {going_out.deployment.state}: now C is triggered")
        third = await self._trigger("C", spec, c)
        outcome_b, outcome_c = await asyncio.gather(self._end("B", second), self._end("C", third))
        self._expect(outcome_b, DeploymentState.SUCCEEDED, DeploymentState.SUPERSEDED)
        self._expect(outcome_c, DeploymentState.SUCCEEDED)
        await self._check_machines(spec, outcome_c, ask=True)
        await self._roll_back(spec)

    async def of_a_repository(self, foreign: Foreign) -> None:
        """One deployment. Raises :class:`EndedBadly`."""
        spec = ServiceSpec(foreign.service, foreign.repository, trunk="", recipe=foreign.recipe)
        await self._company.control.put_service(spec)
        deployed = await self._deploy(spec.name, spec, Commit(foreign.commit, f"of {foreign.repository}"))
        await self._check_machines(spec, deployed, ask=False)

    async def _deploy(self, label: str, spec: ServiceSpec, commit: Commit) -> Deployment:
        ended = await self._end(label, await self._trigger(label, spec, commit))
        self._expect(ended, DeploymentState.SUCCEEDED)
        return ended

    async def _roll_back(self, spec: ServiceSpec) -> None:
        self._narrator.say("roll back: to the newest earlier release whose deployment succeeded")
        ended = await self._end("rollback", self._remember(await self._company.control.rollback(RollbackRequest(spec.name))))
        self._expect(ended, DeploymentState.SUCCEEDED)
        await self._check_machines(spec, ended, ask=True)

    async def _trigger(self, label: str, spec: ServiceSpec, commit: Commit) -> Deployment:
        self._narrator.say(f"deploy {label}: {short(commit.sha)} {commit.subject}")
        return self._remember(await self._company.control.deploy(DeployRequest(spec.name, commit.sha)))

    async def _end(self, label: str, deployment: Deployment) -> Deployment:
        detail = await self._narrator.follow(self._company.control, deployment.id, label)
        if detail.deployment.state is DeploymentState.FAILED and detail.build is not None and not detail.deployment.release:
            await self._show_log_end(detail.build.id)
        return self._remember(detail.deployment)

    def _remember(self, deployment: Deployment) -> Deployment:
        known = [index for index, item in enumerate(self._told) if item.id == deployment.id]
        if known:
            self._told[known[0]] = deployment
        else:
            self._told.append(deployment)
        return deployment

    def _expect(self, deployment: Deployment, *states: DeploymentState) -> None:
        if deployment.state not in states:
            raise EndedBadly("ended_badly", describe(deployment))

    async def _check_machines(self, spec: ServiceSpec, deployed: Deployment, *, ask: bool) -> None:
        """Ask the machines themselves, not what was reported of them."""
        assert deployed.release is not None
        found = await look(self._company.settings.agents, spec.environment, spec.name, ask=ask)
        for machine in found:
            if machine.release != deployed.release.digest or (ask and machine.commit != deployed.commit_sha):
                runs = f"{short(machine.release) or 'nothing'} (it says it is {short(machine.commit) or 'nothing'})"
                raise EndedBadly("wrong_release", f"{machine.machine} runs {runs}, not {short(deployed.release.digest)}")
        says = " and its service says so when asked" if ask else ""
        self._narrator.say(f"all {len(found)} machines run {short(deployed.commit_sha)}: each one's link points there{says}")

    async def _show_log_end(self, build: BuildId) -> None:
        if lines := await end_of_log(self._company.control, build):
            self._narrator.show("\n".join(("the end of the build's log:", *lines)))


def _distributing(detail: DeploymentDetail) -> bool:
    return detail.deployment.state is DeploymentState.DISTRIBUTING or has_ended(detail)
