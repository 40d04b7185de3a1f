"""A recipe is read as it is meant, and a wrong one is refused with its line and the reason."""

from __future__ import annotations

import random

import pytest

from fleetcast.model.build import Recipe
from fleetcast.model.errors import Invalid
from fleetcast.model.hooks import Hook
from fleetcast.model.limits import RECIPE_BYTES_MAX
from fleetcast.model.probe import Probe
from fleetcast.worker.backoff import delay_s
from fleetcast.worker.recipe import complete_recipe, parse_recipe

WHOLE = """\
# how web is built
[build]
command = "make dist"
output = "dist"

[run]
activate = "exec ./server"
health = "./check"
health_timeout_s = 30
drain_s = 120

[run.environment]
MODE = "production"
"""


HOOKS = """\
[hooks]
pre_activate = "./migrate"
deactivate = { command = "./drain", timeout_s = 120 }

[hooks.post_activate]
command = "./greet"
timeout_s = 5
"""


def test_a_whole_recipe() -> None:
    assert parse_recipe(WHOLE.encode()) == Recipe(
        build="make dist",
        output="dist",
        activate="exec ./server",
        health="./check",
        health_timeout_s=30.0,
        drain_s=120.0,
        environment={"MODE": "production"},
    )


HEALTH = """\
[run.health]
http = "http://127.0.0.1:$PORT/health"
host = "shop.example"
status = 204
grace_s = 2
interval_s = 5
timeout_s = 1.5
threshold = 3
watch = false
"""


def test_health_is_a_command_or_a_table() -> None:
    assert parse_recipe(HEALTH.encode()) == Recipe(
        probe=Probe(
            http="http://127.0.0.1:$PORT/health",
            status=204,
            host="shop.example",
            grace_s=2.0,
            interval_s=5.0,
            timeout_s=1.5,
            threshold=3,
            watch=False,
        )
    )
    assert parse_recipe(b'[run]\nhealth = { tcp = "[::1]:80" }\n') == Recipe(probe=Probe(tcp="[::1]:80", watch=True))
    assert parse_recipe(b'[run]\nhealth = { command = "./check", threshold = 2 }\n') == Recipe(
        health="./check", probe=Probe(threshold=2, watch=False)
    )


def test_sockets_are_a_list_of_addresses() -> None:
    text = b'[run]\nsockets = ["127.0.0.1:$PORT", "/run/web.sock"]\nhealth = { http = "http://$FLEETCAST_HEALTH/" }\n'
    assert parse_recipe(text).sockets == ("127.0.0.1:$PORT", "/run/web.sock")


def test_who_says_how_health_is_checked_says_all_of_it() -> None:
    committed = parse_recipe(HEALTH.encode())
    assert Recipe(health="./check").over(committed) == Recipe(health="./check")
    assert Recipe(activate="./server").over(committed) == Recipe(activate="./server", probe=committed.probe)


def test_everything_may_be_left_out() -> None:
    assert parse_recipe(b"") == Recipe()
    build = b'[build]\nnetwork = true\nenvironment = { B = "2" }\n'
    assert parse_recipe(build) == Recipe(network=True, build_environment={"B": "2"})
    assert parse_recipe(b'[run]\nenvironment = { A = "1" }\n') == Recipe(environment={"A": "1"})


def test_hooks_are_commands_or_tables() -> None:
    assert parse_recipe(HOOKS.encode()).hooks == {
        "pre_activate": Hook("./migrate"),
        "deactivate": Hook("./drain", 120.0),
        "post_activate": Hook("./greet", 5.0),
    }


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            HOOKS.replace("pre_activate", "pre_active"),
            "line 2: unknown name 'pre_active' in [hooks]: did you mean 'pre_activate'?",
        ),
        (HOOKS.replace('"./migrate"', "7"), "line 2: pre_activate must be text in quotes"),
        (HOOKS.replace("= 120", "= 901"), "line 3: timeout_s must be a number of seconds above 0, at most 900"),
        (HOOKS.replace("timeout_s = 120", "timeout = 1"), "line 3: unknown name 'timeout' in [hooks.deactivate]"),
        (HOOKS.replace('command = "./greet"', ""), "line 5: post_activate has no command"),
        (HOOKS.replace("timeout_s = 5", "tmeout_s = 5"), "line 7: unknown name 'tmeout_s' in [hooks.post_activate]"),
        (HEALTH.replace("http =", "htp ="), "line 2: unknown name 'htp' in [run.health]: did you mean 'http'?"),
        (HEALTH.replace("http:", "https:"), "line 2: http must be http://HOST[:PORT][/PATH]"),
        (HEALTH.replace("threshold = 3", "threshold = 0"), "line 8: threshold must be a whole number, 1 to 100"),
        (HEALTH.replace("threshold = 3", "threshold = 1.5"), "line 8: threshold must be a whole number"),
        (HEALTH.replace("threshold = 3", "threshold = true"), "line 8: threshold must be a whole number"),
        (HEALTH.replace("grace_s = 2", 'grace_s = "2"'), "line 5: grace_s must be a number of seconds"),
        (HEALTH.replace("interval_s = 5", "interval_s = 0.1"), "line 6: interval_s must be a number of seconds, 0.25 to 600"),
        (HEALTH.replace("watch = false", "watch = 0"), "line 9: watch must be true or false"),
        (HEALTH + 'tcp = "127.0.0.1:80"', "health needs one of command, http, tcp and unit, not http and tcp"),
        ("[run.health]\nthreshold = 2", "line 1: health needs one of command, http, tcp and unit, and it has none"),
        ('[run]\nhealth = { unit = "web", status = 3 }', "line 2: unit must be the name of a unit with its kind"),
        ("[run]\nhealth = 7", "line 2: health must be text in quotes"),
        ('[run]\nsockets = "127.0.0.1:80"', "line 2: sockets must be a list of addresses"),
        ('[run]\nsockets = ["80"]', "line 2: sockets must be HOST:PORT or /PATH, not '80'"),
        ('[run]\nsockets = ["a:1", "a:1"]', "line 2: sockets must be different from each other"),
        ('[run]\nsockets = ["a:1", "a:2", "a:3", "a:4", "a:5", "a:6", "a:7"]', "line 2: sockets are at most 6"),
        (
            '[run]\nsockets = ["a:1"]\nhealth = { tcp = "a:1" }',
            "line 2: tcp must name $FLEETCAST_HEALTH where there are sockets",
        ),
        ('hooks = "./all"', "line 1: hooks must be a table: write [hooks]"),
        (WHOLE.replace("output =", "ouput ="), "line 4: unknown name 'ouput' in [build]: did you mean 'output'?"),
        (WHOLE.replace("[build]", "[biuld]"), "line 2: unknown name 'biuld': did you mean 'build'?"),
        (WHOLE.replace("[build]", "[q]"), "line 2: unknown name 'q': known are build, run, hooks"),
        (WHOLE.replace('"make dist"', '["make"]'), "line 3: command must be text in quotes"),
        (WHOLE.replace("= 120", "= 901"), "line 10: drain_s must be a number of seconds above 0, at most 900"),
        (WHOLE.replace("= 120", '= "2 min"'), "line 10: drain_s must be a number of seconds above 0"),
        (WHOLE.replace("= 30", "= 0"), "line 9: health_timeout_s must be a number of seconds above 0"),
        (WHOLE.replace("= 30", "= true"), "line 9: health_timeout_s must be a number of seconds above 0"),
        (WHOLE.replace("= 30", "= nan"), "line 9: health_timeout_s must be a number of seconds above 0"),
        (WHOLE.replace('"production"', "8080"), "line 13: MODE must be text: write it in quotes"),
        (WHOLE.replace("MODE", "FLEETCAST_DATA"), "line 13: 'FLEETCAST_DATA' cannot be set"),
        (WHOLE.replace('"dist"', '"dist"\nnetwork = "yes"'), "line 5: network must be true or false"),
        (WHOLE.replace('"dist"', '"dist"\nenvironment = { A = 1 }'), "line 5: A must be text: write it in quotes"),
        (WHOLE.replace('"dist"', '"../dist"'), "line 4: output '../dist' must be a path inside the repository"),
        (WHOLE.replace('"dist"', '"/dist"'), "line 4: output '/dist' must be a path inside the repository"),
        (WHOLE.replace('"dist"', '"dist'), "line 4, column 15: Illegal character"),
        ('build = "make"\n', "line 1: build must be a table: write [build]"),
        ("[run]\nactivate = ", "line 2: Invalid value, and the file ends there"),
        ("x" * (RECIPE_BYTES_MAX + 1), "at most"),
    ],
)
def test_a_wrong_recipe_says_where_and_why(text: str, complaint: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_recipe(text.encode())
    assert complaint in refused.value.message
    assert "\n" not in refused.value.message


def test_bytes_that_are_no_text_are_refused_with_their_line() -> None:
    with pytest.raises(Invalid, match="line 2: it is not UTF-8"):
        parse_recipe(b"[build]\noutput = '\xff'\n")


def test_what_was_ordered_wins_over_the_commit() -> None:
    ordered = Recipe(output="out", environment={"MODE": "test"})
    recipe = complete_recipe(ordered, parse_recipe(WHOLE.encode()))
    assert (recipe.build, recipe.output, recipe.environment) == ("make dist", "out", {"MODE": "test"})
    assert complete_recipe(ordered, None).build is None


def test_a_build_without_an_output_is_refused() -> None:
    with pytest.raises(Invalid, match="does not exist at this commit"):
        complete_recipe(Recipe(build="make"), None)
    with pytest.raises(Invalid, match=r"has no \[build\] output"):
        complete_recipe(Recipe(), Recipe(build="make"))
    with pytest.raises(Invalid, match="inside the repository"):
        complete_recipe(Recipe(output="../../etc"), None)


def test_waits_grow_to_their_bound_and_differ() -> None:
    rng = random.Random(1)
    waits = [delay_s(failures, rng, 30) for failures in range(1, 50)]
    assert 0.25 <= waits[0] <= 0.5
    assert all(15 <= wait <= 30 for wait in waits[10:])
    assert len(set(waits)) == len(waits)
