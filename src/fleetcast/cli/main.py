"""The command line's entry: which commands there are, and how an error becomes a line and an exit code.

Nothing heavy is imported before it is known which command runs: ``--version`` and ``--help`` start in a fraction of a second.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from fleetcast import __version__
from fleetcast.model.errors import FleetcastError

if TYPE_CHECKING:
    from cyclopts import App

OK: Final = 0
USAGE: Final = 2
INTERRUPTED: Final = 130

_DESCRIPTION: Final = """One command takes a commit to a running fleet: builds it, copies it to every region, distributes
it peer to peer, switches the machines over, and goes back at once.

Start with `fleetcast demo` (a whole company on this machine, gone afterwards) or `fleetcast up`
(a small installation that stays).

Exit codes: 0 ok, 1 it ended badly, 2 usage, 3 not found, 4 refused, 5 unreachable, 130 interrupted.
"""

_COMMANDS: Final[Sequence[tuple[str, str, str, str]]] = (
    ("Try and run", "demo", "fleetcast.cli.demo.command:demo", "Show all of it on this machine, and leave nothing behind."),
    ("Try and run", "up", "fleetcast.cli.processes:up", "Run a whole installation; makes a small one the first time."),
    ("Try and run", "down", "fleetcast.cli.processes:down", "End the services that an installation left running."),
    ("Deploy", "deploy", "fleetcast.cli.deployments:deploy", "Take a commit to the service's machines; builds it if needed."),
    ("Deploy", "rollback", "fleetcast.cli.deployments:rollback", "Take the machines back to an earlier release."),
    ("Deploy", "abort", "fleetcast.cli.deployments:abort", "End an unfinished deployment."),
    ("Deploy", "status", "fleetcast.cli.deployments:status", "Show the fleet, one service, or one deployment."),
    ("Deploy", "watch", "fleetcast.cli.deployments:watch", "Follow a deployment to its end."),
    ("Deploy", "logs", "fleetcast.cli.builds:logs", "Show a build's log."),
    ("Deploy", "drain", "fleetcast.cli.fleet:drain", "Leave a region out of what everything waits for."),
    ("Single processes", "control", "fleetcast.cli.processes:control", "Run the global process."),
    ("Single processes", "worker", "fleetcast.cli.processes:worker", "Run a worker, which builds."),
    ("Single processes", "region", "fleetcast.cli.processes:region", "Run a region's process."),
    ("Single processes", "agent", "fleetcast.cli.processes:agent", "Run a machine's agent."),
)
_NOUNS: Final[Sequence[tuple[str, str, Sequence[tuple[str, str, str]]]]] = (
    (
        "service",
        "What is deployed: a repository, and the machines it runs on.",
        (
            ("add", "fleetcast.cli.services:add", "Create a service, or describe one anew."),
            ("list", "fleetcast.cli.services:list_services", "List the services."),
            ("show", "fleetcast.cli.services:show", "Show one service."),
        ),
    ),
    (
        "machine",
        "The hosts that count.",
        (
            ("list", "fleetcast.cli.fleet:list_machines", "List the machines."),
            ("retire", "fleetcast.cli.fleet:retire", "Count a machine that is gone no more."),
        ),
    ),
    (
        "artifact",
        "What a build made.",
        (("show", "fleetcast.cli.artifacts:show", "Show an artifact's signed statement, and where its copies are."),),
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
        help_format="markdown",
    )
    groups = {group: Group.create_ordered(group) for group in dict.fromkeys(group for group, *_ in _COMMANDS)}
    for group, name, target, text in _COMMANDS:
        app.command(target, name=name, help=None if wanted[:1] == [name] else text, group=groups[group])
    for noun, text, verbs in _NOUNS:
        commands = App(name=noun, help=text, group=groups["Deploy"])
        for name, target, verb_text in verbs:
            commands.command(target, name=name, help=None if wanted[:2] == [noun, name] else verb_text)
        app.command(commands)
    return app


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code. Errors of ours are one line on standard error."""
    if list(arguments) == ["--version"]:
        print(f"fleetcast {__version__}")
        return OK
    from cyclopts import CycloptsError

    try:
        result = application(list(arguments))(list(arguments), exit_on_error=False, result_action="return_value")
        sys.stdout.flush()
        return result if isinstance(result, int) else OK
    except CycloptsError:
        return USAGE  # it has been printed
    except FleetcastError as error:
        print(f"fleetcast: {error.message} [{error.code}]", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def main() -> None:
    """The ``fleetcast`` program."""
    sys.exit(run(sys.argv[1:]))
