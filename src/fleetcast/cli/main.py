"""The command line's entry: which commands there are, and how an error becomes a line and an exit code.

Nothing heavy is imported before it is known which command runs: ``--version`` and ``--help`` start in a fraction of a second.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from fleetcast import __version__
from fleetcast.model.errors import FleetcastError

if TYPE_CHECKING:
    from cyclopts import App, CycloptsError

OK: Final = 0
USAGE: Final = 2
INTERRUPTED: Final = 130

_DESCRIPTION: Final = (
    "One command takes a commit to a running fleet: builds it, copies it to every region, distributes it peer to peer, "
    "switches the machines over, and goes back at once.\n\n"
    "Start with fleetcast demo (a whole company on this machine, gone afterwards) or fleetcast up (a small installation that "
    "stays).\n\n"
    "Exit codes: 0 ok, 1 it ended badly, 2 usage, 3 not found, 4 refused, 5 unreachable, 130 interrupted."
)

_COMMANDS: Final[Sequence[tuple[str, str, str, str]]] = (
    ("Try and run", "demo", "fleetcast.cli.demo.command:demo", "Show all of it on this machine, and leave nothing behind."),
    ("Try and run", "up", "fleetcast.cli.processes:up", "Run a whole installation; makes a small one the first time."),
    ("Try and run", "down", "fleetcast.cli.processes:down", "End the services that an installation left running."),
    ("Try and run", "doctor", "fleetcast.cli.doctor.command:doctor", "Look for what is wrong here, and say what to do."),
    ("Deploy", "build", "fleetcast.cli.builds:build", "Build a commit without deploying it."),
    ("Deploy", "deploy", "fleetcast.cli.deployments:deploy", "Take a commit to the service's machines; builds it if needed."),
    ("Deploy", "rollback", "fleetcast.cli.deployments:rollback", "Take the machines back to an earlier release."),
    ("Deploy", "abort", "fleetcast.cli.deployments:abort", "End an unfinished deployment, or a build."),
    ("Deploy", "pause", "fleetcast.cli.holding:pause", "Let in no further wave of a deployment for now."),
    ("Deploy", "resume", "fleetcast.cli.holding:resume", "Go on with a deployment that is paused."),
    ("Deploy", "retry", "fleetcast.cli.deployments:retry", "Have machines try again that failed a deployment."),
    ("Deploy", "skip", "fleetcast.cli.holding:skip", "Have a deployment go on without a region."),
    ("Deploy", "promote", "fleetcast.cli.holding:promote", "Skip the bake of a deployment's present wave."),
    ("Deploy", "approve", "fleetcast.cli.approving:approve", "Approve what somebody else wants to deploy."),
    ("Deploy", "refuse", "fleetcast.cli.approving:refuse", "Do not approve a deployment: it ends."),
    ("Deploy", "status", "fleetcast.cli.status:status", "Show the fleet, or one service, deployment, region or machine."),
    ("Deploy", "watch", "fleetcast.cli.deployments:watch", "Follow a deployment to its end."),
    ("Deploy", "logs", "fleetcast.cli.builds:logs", "Show what a build said."),
    ("Deploy", "queue", "fleetcast.cli.queue:queue", "Show which builds wait, for what, and which run."),
    ("Deploy", "history", "fleetcast.cli.history:history", "Show what builds took and how they ended, by day."),
    ("Deploy", "drain", "fleetcast.cli.fleet:drain", "Leave a region out of what everything waits for."),
    ("Set up", "settings", "fleetcast.cli.settings:settings", "Show every setting, and where its value comes from."),
    ("Set up", "backup", "fleetcast.cli.backups:backup", "Write all that control knows into one file."),
    ("Set up", "restore", "fleetcast.cli.backups:restore", "Put a backup back, on any engine."),
    ("Set up", "migrate", "fleetcast.cli.migrating:migrate", "Move all that is kept to other engines."),
    ("Set up", "completion", "fleetcast.cli.completion:completion", "Print what teaches a shell to complete commands."),
    ("Single processes", "control", "fleetcast.cli.processes:control", "Run the global process."),
    ("Single processes", "worker", "fleetcast.cli.processes:worker", "Run a worker, which builds."),
    ("Single processes", "region", "fleetcast.cli.processes:region", "Run a region's process."),
    ("Single processes", "agent", "fleetcast.cli.processes:agent", "Run a machine's agent."),
)
_BESIDE: Final[Mapping[str, Sequence[tuple[str, str, str]]]] = {
    "region": (("rollback", "fleetcast.cli.region_rollbacks:rollback", "Take a region's machines back while control is dead."),)
}
"""Commands below one that does something itself."""
_OF_A_COMMIT: Final = ("deploy", "build")
_NOUNS: Final[Sequence[tuple[str, str, Sequence[tuple[str, str, str]]]]] = (
    (
        "service",
        "What is deployed: a repository, and the machines it runs on.",
        (
            ("add", "fleetcast.cli.services:add", "Create a service, or describe one anew."),
            ("list", "fleetcast.cli.services:list_services", "List the services."),
            ("show", "fleetcast.cli.services:show", "Show one service."),
            ("remove", "fleetcast.cli.services:remove", "Stop a service everywhere, and forget it."),
        ),
    ),
    (
        "freeze",
        "Times in which no deployment lets machines in.",
        (
            ("add", "fleetcast.cli.freezes:add", "Add a freeze, or change one."),
            ("list", "fleetcast.cli.freezes:list_freezes", "List the freezes of the company."),
            ("remove", "fleetcast.cli.freezes:remove", "Remove a freeze: what it held goes on."),
        ),
    ),
    (
        "environment",
        "Where a service runs, beside its own: staging, say.",
        (
            ("add", "fleetcast.cli.environments:add", "Create an environment of a service, or describe one anew."),
            ("list", "fleetcast.cli.environments:list_environments", "List a service's environments, and what each runs."),
            ("remove", "fleetcast.cli.environments:remove", "Stop a service in one environment, and forget that."),
        ),
    ),
    (
        "release",
        "What is deployable.",
        (("promote", "fleetcast.cli.environments:promote", "Deploy to one environment exactly what runs in another."),),
    ),
    (
        "machine",
        "The hosts that count.",
        (
            ("list", "fleetcast.cli.fleet:list_machines", "List the machines."),
            ("show", "fleetcast.cli.machines:show", "Show one machine, and what runs on it."),
            ("label", "fleetcast.cli.machines:label", "Give a machine labels, or take given ones away."),
            ("retire", "fleetcast.cli.fleet:retire", "Count a machine that is gone no more."),
        ),
    ),
    (
        "artifact",
        "What a build made.",
        (
            ("list", "fleetcast.cli.artifacts:list_artifacts", "List artifacts, newest first."),
            ("show", "fleetcast.cli.artifacts:show", "Show an artifact's signed statement, and where its copies are."),
            ("replicate", "fleetcast.cli.replicating:replicate", "Have regions attempt to copy an artifact now."),
            ("export", "fleetcast.cli.artifacts:export", "Take an artifact out, as a directory or a tar."),
            ("verify", "fleetcast.cli.artifacts:verify", "Verify the main store's copy, or a directory on this host."),
            ("pin", "fleetcast.cli.retention:pin", "Keep an artifact, whatever its age and however many there are."),
            ("unpin", "fleetcast.cli.retention:unpin", "Leave a pinned artifact to the rules again."),
            ("collect", "fleetcast.cli.retention:collect", "Collect artifacts that nobody needs, or say which and why."),
        ),
    ),
    (
        "webhook",
        "Who is told by HTTP of what happens.",
        (
            ("add", "fleetcast.cli.webhooks:add", "Have a URL told of events, or describe that anew."),
            ("list", "fleetcast.cli.webhooks:list_webhooks", "List the webhooks, and how telling them goes."),
            ("test", "fleetcast.cli.webhooks:send_test", "Make a delivery now that says only that it is one."),
            ("remove", "fleetcast.cli.webhooks:remove", "Tell a URL nothing more."),
        ),
    ),
)


def application(wanted: Sequence[str]) -> App:
    """The commands, none of them imported yet. The one ``wanted`` begins with tells its whole help, the others a line."""
    from cyclopts import App, Group, Parameter

    app = App(
        name="fleetcast",
        help=_DESCRIPTION,
        version=f"fleetcast {__version__}",
        default_parameter=Parameter(negative=()),
        # Reading Markdown costs a fifth of the start, and the list of commands has none.
        help_format="markdown" if wanted and not wanted[0].startswith("-") else "plaintext",
    )
    groups = {group: Group.create_ordered(group) for group in dict.fromkeys(group for group, *_ in _COMMANDS)}
    for group, name, target, text in _COMMANDS:
        help_ = None if wanted[:1] == [name] else text
        if name not in _BESIDE:
            app.command(target, name=name, help=help_, group=groups[group])
            continue
        both = App(name=name, help=help_, group=groups[group])
        if not wanted or wanted[0] == name:
            both.default(_imported(target))  # which cannot wait until it is called
        _add(both, _BESIDE[name], wanted)
        app.command(both)
    for noun, text, verbs in _NOUNS:
        commands = App(name=noun, help=text, group=groups["Deploy"])
        _add(commands, verbs, wanted)
        app.command(commands)
    return app


def _add(noun: App, verbs: Sequence[tuple[str, str, str]], wanted: Sequence[str]) -> None:
    for name, target, text in verbs:
        noun.command(target, name=name, help=None if list(wanted[:2]) == [*noun.name, name] else text)


def _imported(target: str) -> Callable[..., object]:
    module, _, name = target.partition(":")
    found: Callable[..., object] = getattr(importlib.import_module(module), name)
    return found


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code. Errors of ours are one line on standard error."""
    if list(arguments) == ["--version"]:
        print(f"fleetcast {__version__}")
        return OK
    from cyclopts import CycloptsError

    try:
        result = application(arguments)(list(arguments), exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
        return result if isinstance(result, int) else OK
    except CycloptsError as error:
        print(f"fleetcast: {_usage(error)} [usage]", file=sys.stderr)
        return USAGE
    except FleetcastError as error:
        print(f"fleetcast: {error.message} [{error.code}]", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except (OSError, ExceptionGroup) as error:
        return _obstructed(error)


def _obstructed(error: BaseException) -> int:
    """What this host has against it is told like any other error; a defect keeps its traceback."""
    from fleetcast.stores.obstacles import first_obstacle

    ours = first_obstacle(error)
    if ours is None:
        raise error
    print(f"fleetcast: {ours.message} [{ours.code}]", file=sys.stderr)
    return ours.exit_code


def _usage(error: CycloptsError) -> str:
    """What is wrong with a command line, in one line, and whom to ask about it."""
    from cyclopts import MissingArgumentError, UnknownCommandError, UnusedCliTokensError

    chain = " ".join(("fleetcast", *(error.command_chain or ())))
    (command, *deeper) = error.command_chain or ("",)
    if command in _OF_A_COMMIT and isinstance(error, MissingArgumentError | UnusedCliTokensError) and not deeper:
        return f"{command} what? Write SERVICE@REV, for instance web@main: see {chain} --help"
    if isinstance(error, UnknownCommandError) and error.app is not None and error.unused_tokens:
        # Its own text imports every command there is, to list eight of them.
        said = f'Unknown command "{error.unused_tokens[0]}".'
        if nearest := difflib.get_close_matches(error.unused_tokens[0], list(error.app), n=1, cutoff=0.5):
            said += f' Did you mean "{nearest[0]}"?'
    else:
        said = " ".join(str(error).split())
    return f"{said} See {chain} --help" if said.endswith((".", "?")) else f"{said}: see {chain} --help"


def main() -> None:
    """The ``fleetcast`` program."""
    sys.exit(run(sys.argv[1:]))
