"""Webhooks by the command line: set up, tried, told, and taken away."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from place import Place, assert_one_line, bring_up
from recorder import listening
from running import wait_until


@pytest.fixture
def place(tmp_path: Path) -> Any:
    place = bring_up(tmp_path)
    try:
        place.run.wait_for("^ready")
        place.wait_for_machines(1)
        yield place
    finally:
        place.close()


def test_a_deployment_is_told_and_secrets_stay_where_they_are(place: Place, tmp_path: Path) -> None:
    with listening() as recorder:
        secret = tmp_path / "ci.webhook"
        added = place.fleetcast("webhook", "add", f"{recorder.url}/ci?key=s3cr3t", "--secret-file", str(secret))
        assert added.returncode == 0, added.stderr
        name = added.stdout.split()[1]
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        url = tmp_path / "chat.url"
        url.write_text(f"{recorder.url}/services/s3cr3t\n")
        assert_one_line(place.fleetcast("webhook", "add", str(url), "--name", "chat", "--form", "slack"), 2, "chmod 600")
        url.chmod(0o600)
        assert place.fleetcast("webhook", "add", str(url), "--name", "chat", "--form", "slack").returncode == 0
        assert_one_line(place.fleetcast("webhook", "add", f"{recorder.url}/"), 2, "give it a secret")
        tried = place.fleetcast("webhook", "test", name)
        assert tried.stdout.startswith(f"webhook {name}: delivered (HTTP 201)")
        place.good()

        def ended() -> bool:
            return sum(b"ended" in one.body and b"SUCCEEDED" in one.body for one in list(recorder.heard)) == 2

        wait_until(ended, "both are told how it ended")
        texts = [json.loads(one.body)["text"] for one in recorder.heard if one.path.startswith("/services/")]
        assert texts[-1].startswith("good: deployment ")
        assert " to production ended SUCCEEDED" in texts[-1]
        listed = place.fleetcast("webhook", "list").stdout
        assert "delivered (HTTP 201)" in listed
        recorder.answer = lambda _heard: (500, b"not today")
        refused = place.fleetcast("webhook", "test", "chat")
        assert (refused.returncode, "it answered HTTP 500 and not today" in refused.stdout) == (1, True)
        said = listed + place.log("control") + json.dumps(place.asked("/v1/webhooks")) + json.dumps(place.asked("/v1/events"))
        assert "s3cr3t" not in said
        assert secret.read_text().strip() not in said
        assert place.fleetcast("webhook", "remove", "chat").stdout.startswith("webhook chat is removed")
        assert_one_line(place.fleetcast("webhook", "test", "chat"), 3, "unknown_webhook")
    assert place.tracebacks() == []
