"""Does what was started come up? Its health check says so, if the process is still there a moment after its start; without a
check that moment alone does."""

from __future__ import annotations

import asyncio
import contextlib

from fleetcast.agent.probing import HealthCheck, age_s, attempt, with_words
from fleetcast.agent.processes import ServiceProcess, last_line, last_lines
from fleetcast.agent.reconcile import ProcessStatus
from fleetcast.stores import boots


class Unhealthy(Exception):
    """The release did not come up; the message is one line, for people. ``output``: the last lines of what says so."""

    def __init__(self, message: str, output: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.output = output


async def healthy(check: HealthCheck, process: ServiceProcess) -> None:
    """Return once the service is healthy. Safe to cancel: a running check is killed.

    Raises:
        Unhealthy: its process ended in failure first, or the time is over.
    """
    death = asyncio.create_task(_death(process))
    verdict = asyncio.create_task(_passes(check, process))
    try:
        await asyncio.wait({death, verdict}, return_when=asyncio.FIRST_COMPLETED)
        if death.done():
            death.result()
        await verdict
    finally:
        for task in (death, verdict):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Unhealthy):
                await task


async def _death(process: ServiceProcess) -> None:
    """Raises :class:`Unhealthy` when the process ends badly; returns when it has ended well."""
    await process.ended()
    if process.status() is ProcessStatus.DOWN:
        code = process.exit_code()
        how = "was killed" if code is None else f"exited with {code}"
        raise Unhealthy(with_words(f"the process {how} before it was healthy", process.last_words()), process.last_lines())


async def _passes(check: HealthCheck, process: ServiceProcess) -> None:
    if not check.asks:
        await _old_enough(check.settle_s, process)
        return
    # A question at once is one in vain, and where a fleet shares a machine it keeps what is asked for from coming up. Nothing
    # passes before ``settle_s`` anyway.
    await _old_enough(max(check.grace_s, check.settle_s / 2), process)
    instance = process.instance.id if process.instance else ""
    outcome, output = "", tuple[str, ...]()
    passed = 0
    try:
        async with asyncio.timeout(check.timeout_s):
            while True:
                asked_at = boots.uptime_ms()
                verdict = await attempt(check, instance)
                passed = passed + 1 if not verdict.wrong else 0
                if passed >= check.threshold:
                    break
                if verdict.wrong:
                    outcome, output = verdict.wrong, verdict.output
                # As long as it took at least: a host that is busy is not kept busy by questions.
                await asyncio.sleep(max(check.interval_s, age_s(asked_at)))
    except TimeoutError:
        said = last_line(check.log) if check.command else ""
        text = f"the health check did not pass within {check.timeout_s:g} s"
        lines = output or (last_lines(check.log) if check.command else ())
        if passed and check.threshold > 1:
            outcome = f"it passed {passed} times in a row, not {check.threshold}"
        raise Unhealthy(f"{text}: {outcome or with_words('it does not end', said)}", lines) from None
    # A process that dies at once, say because another one has its port, may be outrun by a check that the other one answers.
    await _old_enough(check.settle_s, process)


async def _old_enough(seconds: float, process: ServiceProcess) -> None:
    """Until the process, if there is one, is so many seconds old."""
    if process.instance is not None and process.status() is ProcessStatus.UP:
        await asyncio.sleep(max(0.0, seconds - age_s(process.instance.started_ms)))
