"""``fleetcast webhook``: who is told by HTTP of what happens."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fleetcast.cli.connection import NO_CONNECTION, Connection, everything
from fleetcast.cli.output import ago, counted, print_json
from fleetcast.cli.terminal import print_table

if TYPE_CHECKING:
    from fleetcast.client.control import ControlClient
    from fleetcast.model.messages.webhooks import Webhook, WebhookOutcome, WebhookSpec


def add(
    url: str,
    *,
    name: str | None = None,
    events: tuple[str, ...] = ("deployment.*",),
    service: tuple[str, ...] = (),
    form: Literal["json", "slack"] = "json",
    secret_file: Path | None = None,
    json: bool = False,
    connection: Connection = NO_CONNECTION,
) -> None:
    """Have a URL told of events, from now on. Under the name of a webhook that there is, describe that anew.

    For example: `fleetcast webhook add https://ci.example.com/fleetcast --secret-file secrets/ci.webhook`

    Parameters
    ----------
    url
        Where deliveries are posted to; or the path of a file of mode 0600 that has it, for one that is a secret.
    name
        1 to 63 of a-z, 0-9 and '-'; default: after the URL's host.
    events
        Kinds of events, deployment.* for all that begin so; repeatable.
    service
        Only events about this service; repeatable.
    form
        How a delivery is written: the event as JSON, or one line of text as Slack takes it.
    secret_file
        File of the secret that signs deliveries, mode 0600; one is made where there is none. Only Slack's form does without.
    json
        Print the webhook as JSON.
    """
    from fleetcast.http.tokens import load
    from fleetcast.model.ids import service_name
    from fleetcast.model.messages.webhooks import WebhookSpec
    from fleetcast.model.webhook import WebhookForm, WebhookName, webhook_name

    place = url if "://" in url else load(Path(url))
    wanted = WebhookName("") if name is None else webhook_name(name)
    secret = None if secret_file is None else _secret(secret_file)
    services = tuple(map(service_name, service))
    spec = WebhookSpec(wanted, place, events or ("deployment.*",), services, WebhookForm(form), secret)
    stored = connection.ask(lambda control: _put(control, spec))
    if json:
        print_json(stored)
        return
    print(f"webhook {stored.name} is told of {', '.join(stored.events)}; next: fleetcast webhook test {stored.name}")


def list_webhooks(*, json: bool = False, connection: Connection = NO_CONNECTION) -> None:
    """List the webhooks, what is still to be told to each, and what came of the last delivery.

    For example: `fleetcast webhook list`

    Parameters
    ----------
    json
        Print them as JSON.
    """
    found = connection.ask(lambda control: everything(control.webhooks()))
    if json:
        print_json(found)
        return
    rows = [
        [
            one.name,
            one.url,
            ",".join(one.events),
            ",".join(one.services) or "all",
            one.form,
            str(one.waiting),
            str(one.given_up),
            "nothing was sent yet" if one.last is None else _outcome_text(one.last, when=True),
        ]
        for one in found
    ]
    print_table(["WEBHOOK", "URL", "EVENTS", "SERVICES", "FORM", "WAITING", "GIVEN UP", "LAST"], rows)


def send_test(name: str, *, json: bool = False, connection: Connection = NO_CONNECTION) -> int:
    """Make a delivery now that says only that it is one, and say what came of it. Exit code 1: it did not arrive.

    For example: `fleetcast webhook test ci-example-com`

    Parameters
    ----------
    name
        The webhook's.
    json
        Print what came of it as JSON.
    """
    from fleetcast.model.webhook import webhook_name

    tested = connection.ask(lambda control: control.test_webhook(webhook_name(name)))
    if json:
        print_json(tested)
    else:
        print(f"webhook {name}: {_outcome_text(tested.outcome)} after {tested.took_ms / 1000:.1f} s")
    return 0 if tested.outcome.delivered else 1


def remove(name: str, *, json: bool = False, connection: Connection = NO_CONNECTION) -> None:
    """Tell a URL nothing more. What waits for it is dropped.

    For example: `fleetcast webhook remove ci-example-com`

    Parameters
    ----------
    name
        The webhook's.
    json
        Print what was done as JSON.
    """
    from fleetcast.model.webhook import webhook_name

    gone = connection.ask(lambda control: control.remove_webhook(webhook_name(name)))
    if json:
        print_json(gone)
    else:
        dropped = f"; {counted(gone.dropped, 'delivery', 'deliveries')} that waited dropped" if gone.dropped else ""
        print(f"webhook {name} is removed{dropped}")


def _outcome_text(outcome: WebhookOutcome, *, when: bool = False) -> str:
    from fleetcast.model.lines import showable

    status = "" if outcome.status is None else f" (HTTP {outcome.status})"
    said = f"delivered{status}" if outcome.delivered else f"not delivered: {showable(outcome.error)}"
    return f"{outcome.kind} {ago(time.time() - outcome.at_ms / 1000)}: {said}" if when else said


def _secret(file: Path) -> str:
    """The one line in ``file``, made where there is no such file. Raises :class:`Invalid` where others may read it."""
    import base64
    import secrets

    from fleetcast.http.tokens import load_or_create_secret
    from fleetcast.model.webhook import SIGNING

    return load_or_create_secret(file, lambda: SIGNING + base64.b64encode(secrets.token_bytes(32)).decode())


async def _put(control: ControlClient, spec: WebhookSpec) -> Webhook:
    """Under a name after its host, where it has none: the first that is free."""
    from dataclasses import replace

    from fleetcast.model.webhook import WebhookName

    if not spec.name:
        taken = {webhook.name for webhook in await everything(control.webhooks())}
        host = re.sub(r"[^a-z0-9]+", "-", spec.url.partition("://")[2].partition("/")[0].lower())[:59].strip("-") or "webhook"
        names = (host, *(f"{host}-{number}" for number in range(2, len(taken) + 2)))
        spec = replace(spec, name=WebhookName(next(name for name in names if name not in taken)))
    return await control.put_webhook(spec)
