"""What people ask for: deploy, roll back, abort. Each is one transaction; the controller carries it out."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.build import BuildOrder, Lane
from fleetcast.model.deployment import Deployment, DeploymentState
from fleetcast.model.errors import NotFound, Refused
from fleetcast.model.ids import BuildId, CommitSha, DeploymentId, Digest, ServiceName, commit_sha
from fleetcast.model.limits import GOAL_LIFETIME_S, OVERRIDE_REASON_CHARS_MAX
from fleetcast.model.messages.artifacts import BuildRequest
from fleetcast.model.messages.deployments import DeployRequest, RetryRequest, RollbackRequest
from fleetcast.model.messages.environments import PromoteRequest
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.model.plan import Policy
from fleetcast.model.push import OnPush
from fleetcast.rollouts.approvals import must_be_a_reason, record_refusal
from fleetcast.rollouts.counting import expected
from fleetcast.rollouts.deployments import deployment_rows, end, get_deployment, unknown
from fleetcast.rollouts.entering import Entry, enter, enter_rollback, past_of
from fleetcast.rollouts.environments import must_hold_no_machine, pushes_go_to, running_in, service_in
from fleetcast.rollouts.goals import read_standing, write_goal
from fleetcast.rollouts.going_back import Past, back_to
from fleetcast.rollouts.holds import bound_by
from fleetcast.rollouts.plan_lint import must_be_legal
from fleetcast.rollouts.planner import halted
from fleetcast.rollouts.promotions import must_have_succeeded, to_promote
from fleetcast.rollouts.retrying import retry
from fleetcast.rollouts.services import get_service
from fleetcast.rollouts.time_zones import must_be_known
from fleetcast.rollouts.unwanted import Builds, stop_unwanted
from fleetcast.schema.columns import AnyRow, AnyRows
from fleetcast.schema.idempotency import RequestKey, once
from fleetcast.schema.release_locks import in_main_store, lock_releases
from fleetcast.schema.tables import artifacts, deployments
from fleetcast.stores.database import Database, now_ms, read_clock_ms


class Triggers:
    """Call the controller's ``wake`` after each of these."""

    def __init__(self, database: Database, builds: Builds, *, goal_lifetime_s: float = GOAL_LIFETIME_S) -> None:
        self._database = database
        self._builds = builds
        self._goal_lifetime_s = goal_lifetime_s

    async def deploy(self, request: DeployRequest, key: RequestKey | None = None, by: str = "") -> Deployment:
        """Bring a commit to the service's machines, building it first where no artifact of it exists.

        With a ``key`` that came before, nothing is triggered: the answer is that deployment, as it is now. ``by``: who
        wants it.

        Raises:
            NotFound: no such service.
            Refused: the service selects no machine; or the commit's artifact was built without checking that it is on
                the trunk, or its build is under way on other terms.
            Unprocessable: its plan cannot be taken.
            KeyReused: the key came with another request.
        """
        sha = commit_sha(request.commit_sha)
        _check_plan(request.plan, request.override_freeze, request.override)
        async with self._database.transaction() as tx:
            deployment = await once(tx, key, lambda: self._deploy(tx, request, sha, by))
            shown = await get_deployment(tx, DeploymentId(deployment))
        if shown.state is DeploymentState.BUILDING:
            self._builds.on_queued()
        return shown

    async def build(self, request: BuildRequest, key: RequestKey | None = None) -> BuildId:
        """Have a commit built without deploying it; returns the build that makes, or made, its artifact.

        ``key``: as for :meth:`deploy`. Raises as that one, but that the service may select no machine.
        """
        sha = commit_sha(request.commit_sha)
        async with self._database.transaction() as tx:
            build = await once(tx, key, lambda: self._build(tx, request, sha))
        self._builds.on_queued()
        return BuildId(int(build))

    async def order(self, tx: AsyncConnection, service: ServiceName, sha: CommitSha, wanted: OnPush) -> str:
        """What a push asks for, as part of ``tx``; returns the build's number or the deployment's id. Call :meth:`wake` after
        the commit. Raises as :meth:`deploy`."""
        spec = await get_service(tx, service)
        artifact = await _newest_artifact(tx, spec, sha)
        # Nobody is there to be told that it was collected.
        rebuild = artifact is not None and not await _kept(tx, Digest(artifact.digest))
        if wanted is OnPush.BUILD:
            return await self._build(tx, BuildRequest(service, sha, rebuild=rebuild), sha)
        environment = await pushes_go_to(tx, service)
        return await self._deploy(tx, DeployRequest(service, sha, rebuild=rebuild, environment=environment), sha)

    def wake(self, triggered: bool = True) -> None:
        """Whoever waits for builds, look; unless nothing was ``triggered``."""
        if triggered:
            self._builds.on_queued()

    async def _artifact_or_build(
        self, tx: AsyncConnection, spec: ServiceSpec, sha: CommitSha, request: DeployRequest | BuildRequest
    ) -> AnyRow | BuildId:
        """The commit's newest artifact where that will do, else the build that will make one."""
        trunk = "" if request.allow_unmerged else spec.trunk
        artifact = await _newest_artifact(tx, spec, sha)
        if artifact is None or request.rebuild:
            number = 1 if artifact is None else artifact.build_number + 1
            order = BuildOrder(spec.name, sha, spec.repository, trunk, spec.recipe, number)
            lane = Lane.URGENT if request.urgent else Lane.ORDINARY
            return await self._builds.enqueue(tx, order, for_itself=isinstance(request, BuildRequest), lane=lane)
        if trunk and artifact.trunk != trunk:
            raise Refused(
                "unmerged_artifact",
                f"{artifact.name} was built without checking that it is on {trunk}: "
                "take it with --allow-unmerged, or build it again with --rebuild",
            )
        if not await _kept(tx, Digest(artifact.digest)):
            command = "deploy" if isinstance(request, DeployRequest) else "build"
            raise _collected(artifact, f"fleetcast {command} {spec.name}@{sha} --rebuild")
        return artifact

    async def rollback(self, request: RollbackRequest, key: RequestKey | None = None, by: str = "") -> Deployment:
        """Go back to an earlier release; by default the one of :func:`~fleetcast.rollouts.going_back.back_to`.

        ``key``: as for :meth:`deploy`.

        Raises:
            NotFound: no such service.
            Refused: nothing was deployed yet, there is nothing to go back to, or the service selects no machine.
            KeyReused: the key came with another request.
        """
        to = None if request.to is None else commit_sha(request.to)
        async with self._database.transaction() as tx:
            deployment = await once(tx, key, lambda: self._rollback(tx, request, to, by))
            return await get_deployment(tx, DeploymentId(deployment))

    async def promote(self, request: PromoteRequest, key: RequestKey | None = None, by: str = "") -> Deployment:
        """Deploy to one environment what runs in another, as it is: nothing is built.

        ``key``, ``by``: as for :meth:`deploy`. Raises as :func:`~fleetcast.rollouts.promotions.to_promote` and :meth:`deploy`;
        and :class:`Refused` where the environment is at that release already.
        """
        _check_plan(request.plan, request.override_freeze, request.override)
        async with self._database.transaction() as tx:
            deployment = await once(tx, key, lambda: self._promote(tx, request, by))
            return await get_deployment(tx, DeploymentId(deployment))

    async def retry(self, request: RetryRequest, key: RequestKey | None = None, by: str = "") -> Deployment:
        """Have the machines try again that failed the service's present deployment, in one of its environments.

        ``key``: as for :meth:`deploy`. Raises as :func:`~fleetcast.rollouts.retrying.retry`, and :class:`KeyReused`.
        """
        async with self._database.transaction() as tx:
            deployment = await once(tx, key, lambda: retry(tx, request.service, request.environment, by))
            return await get_deployment(tx, DeploymentId(deployment))

    async def abort(self, deployment: DeploymentId) -> Deployment:
        """End a deployment ABORTED where it stands: machines keep what they run, nobody else switches over. A build that
        nobody else wants ends with it.

        Raises:
            NotFound: no such deployment.
            Refused: it has ended already.
        """
        async with self._database.transaction() as tx:
            return await self._stop(tx, deployment, "aborted")

    async def refuse(self, deployment: DeploymentId, reason: str, by: str) -> Deployment:
        """Do not approve: it ends as an aborted one does, and says who refused it and why.

        Raises:
            NotFound: no such deployment.
            Invalid: no reason.
            Refused: it has ended, or its next wave needs no approval.
        """
        must_be_a_reason(reason, "--reason")
        async with self._database.transaction() as tx:
            await record_refusal(tx, deployment, reason, by)
            return await self._stop(tx, deployment, f"refused by {by} ({reason})")

    async def _stop(self, tx: AsyncConnection, deployment: DeploymentId, what: str) -> Deployment:
        """``what``: has been done to it, for people."""
        row = (await tx.execute(deployment_rows().where(deployments.c.id == deployment))).one_or_none()
        if row is None:
            raise unknown(deployment)
        if DeploymentState(row.state).ended:
            raise Refused("deployment_ended", f"deployment {deployment} is {row.state} already: roll back to undo it")
        stopped = await stop_unwanted(tx, self._builds, row, DeploymentState.ABORTED)
        await end(tx, row, DeploymentState.ABORTED, f"{what} while {row.state}{stopped}")
        standing = await read_standing(tx, row.service, row.environment)
        if standing is not None and standing.goal is not None and standing.goal.deployment == deployment:
            now = await read_clock_ms(tx)
            goal = halted(standing.goal, standing.generation.next(), now + int(self._goal_lifetime_s * 1000))
            await write_goal(tx, goal, standing.goal_sequence, over=standing.generation)
        return await get_deployment(tx, deployment)

    async def _deploy(self, tx: AsyncConnection, request: DeployRequest, sha: CommitSha, by: str = "") -> DeploymentId:
        spec = await _may_be_deployed(tx, request.service, request.environment)
        found = await self._artifact_or_build(tx, spec, sha, request)
        digest = None if isinstance(found, int) else Digest(found.digest)
        override = await must_have_succeeded(tx, spec, digest, request.override)
        policy = spec.plan if request.plan is None else bound_by(request.plan, spec.plan)
        entry = replace(_entry(spec, sha, policy, by, request.override_freeze), override=override)
        if isinstance(found, int):
            return await enter(tx, entry, DeploymentState.BUILDING, build_id=found)
        return await enter(tx, entry, DeploymentState.REPLICATING, artifact_id=found.id, built_at=now_ms())

    async def _build(self, tx: AsyncConnection, request: BuildRequest, sha: CommitSha) -> str:
        found = await self._artifact_or_build(tx, await get_service(tx, request.service), sha, request)
        return str(found if isinstance(found, int) else found.build_id)

    async def _rollback(self, tx: AsyncConnection, request: RollbackRequest, to: CommitSha | None, by: str) -> DeploymentId:
        spec = await _may_be_deployed(tx, request.service, request.environment)
        target = await _release_to_go_back_to(tx, spec, to)
        await _must_be_kept(tx, spec, target)
        return await enter_rollback(tx, _entry(spec, CommitSha(target.commit_sha), Policy(), by), target)

    async def _promote(self, tx: AsyncConnection, request: PromoteRequest, by: str) -> DeploymentId:
        promoted = await to_promote(tx, request)
        spec = await _may_be_deployed(tx, request.service, request.target)
        runs = await running_in(tx, request.service, spec.environment)
        row = promoted.row
        if runs is not None and runs.state == DeploymentState.SUCCEEDED and runs.artifact_root == row.artifact_root:
            raise Refused("already_there", f"{spec.name} in {spec.environment} runs {row.artifact_name} already")
        await _must_be_kept(tx, spec, row)
        override = await must_have_succeeded(tx, spec, Digest(row.artifact_digest), request.override)
        policy = spec.plan if request.plan is None else bound_by(request.plan, spec.plan)
        entry = _entry(spec, CommitSha(row.commit_sha), policy, by, request.override_freeze)
        entry = replace(entry, promoted_from=request.source, override=override)
        return await enter(tx, entry, DeploymentState.REPLICATING, artifact_id=row.artifact_id, built_at=now_ms())


def _check_plan(plan: Policy | None, override_freeze: str, override: str) -> None:
    """Raises :class:`Unprocessable`."""
    if plan is not None:
        must_be_legal(plan)
        must_be_known(plan.freezes)
    must_be_a_reason(override_freeze, "--override-freeze", optional=True)
    must_be_a_reason(override, "--override", optional=True, chars_max=OVERRIDE_REASON_CHARS_MAX)


def _entry(spec: ServiceSpec, sha: CommitSha, policy: Policy, by: str, override_freeze: str = "") -> Entry:
    return Entry(spec.name, spec.environment, sha, spec.selector, spec.limits, policy, by, override_freeze)


async def _may_be_deployed(tx: AsyncConnection, service: ServiceName, environment: str | None) -> ServiceSpec:
    """The service as it is in an environment to which it can be deployed. Raises :class:`NotFound`, :class:`Refused`."""
    spec = await service_in(tx, service, environment)
    await _must_select_a_machine(tx, spec)
    await must_hold_no_machine(tx, spec)
    return spec


async def _must_be_kept(tx: AsyncConnection, spec: ServiceSpec, row: AnyRow) -> None:
    """Whether the release of an earlier deployment is still there to be run again. Raises :class:`Refused`."""
    if not await _kept(tx, Digest(row.artifact_digest)):
        collected = (await tx.execute(select(artifacts).where(artifacts.c.id == row.artifact_id))).one()
        raise _collected(collected, f"fleetcast deploy {spec.name}@{row.commit_sha} --rebuild")


async def _must_select_a_machine(tx: AsyncConnection, spec: ServiceSpec) -> None:
    if not await expected(tx, spec.selector):
        if drained := await expected(tx, spec.selector, in_drained=True):
            first, where = next(iter(drained)), ", ".join(drained)
            raise Refused(
                "no_machines", f"{spec.name}'s machines are all in drained regions ({where}): fleetcast drain {first} --undo"
            )
        advice = "start agents that match (one that just started is known within half a minute), or change its selector"
        raise Refused("no_machines", f"{spec.name} selects no machine: {advice}")


async def _newest_artifact(tx: AsyncConnection, spec: ServiceSpec, sha: CommitSha) -> AnyRow | None:
    newest = (
        select(artifacts)
        .where(artifacts.c.service == spec.name, artifacts.c.commit_sha == sha)
        .order_by(artifacts.c.build_number.desc())
        .limit(1)
    )
    return (await tx.execute(newest)).one_or_none()


async def _kept(tx: AsyncConnection, digest: Digest) -> bool:
    """Whether the main store has the artifact, and keeps it at least until ``tx`` has committed: who wants it then is known."""
    await lock_releases(tx, [digest])
    return await in_main_store(tx, digest)


def _collected(artifact: AnyRow, command: str) -> Refused:
    why = f" ({artifact.collected_why})" if artifact.collected_why else ""
    return Refused("artifact_collected", f"{artifact.name} was collected{why}: {command} builds it again")


async def _release_to_go_back_to(tx: AsyncConnection, spec: ServiceSpec, to: CommitSha | None) -> AnyRow:
    """The row of the deployment whose release the rollback runs again."""
    standing = await read_standing(tx, spec.name, spec.environment)
    if standing is None or standing.goal is None:
        raise Refused(
            "nothing_deployed", f"{spec.name} was never deployed in {spec.environment}: there is nothing to roll back"
        )
    if standing.goal.removed:
        raise Refused(
            "nothing_deployed", f"{spec.name} was removed, and not deployed since it was added again: deploy a commit"
        )
    goal = deployment_rows().where(deployments.c.id == standing.goal.deployment)
    current = past_of((await tx.execute(goal)).one())
    if to == current.commit_sha:
        raise Refused("already_there", f"the goal of {spec.name} is {to} already")
    rows = {row.id: row for row in await tx.execute(_may_be_gone_back_to(spec, current, to))}
    chosen = back_to([past_of(row) for row in rows.values()], current, to)
    if chosen is not None:
        return rows[chosen.deployment]
    if to is None:
        raise Refused("nothing_earlier", f"{spec.name} has no earlier release that succeeded: name one with --to, or deploy")
    raise NotFound("never_succeeded", f"{to} was never deployed to {spec.name} with success before: deploy it instead")


def _may_be_gone_back_to(spec: ServiceSpec, current: Past, to: CommitSha | None) -> AnyRows:
    """The newest of what :func:`~fleetcast.rollouts.going_back.back_to` would take: the whole history of a service that is
    deployed many times a day is more than a transaction should read while others wait."""
    wanted = deployments.c.rolled_back_by.is_(None) if to is None else deployments.c.commit_sha == to
    return (
        deployment_rows()
        .where(
            deployments.c.service == spec.name,
            deployments.c.environment == spec.environment,
            deployments.c.state == DeploymentState.SUCCEEDED,
            deployments.c.sequence < current.sequence,
            artifacts.c.root != current.root,
            wanted,
        )
        .order_by(deployments.c.sequence.desc())
        .limit(1)
    )
