"""A rollback to a release that nobody had needed any more, told as in ``test_scenarios.py``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fleetcast.model.errors import Refused
from fleetcast.retention.collection import Bounds
from fleetcast.retention.collector import Collector
from fleetcast.retention.planning import Policy
from fleetcast.stores.directory_blobs import DirectoryBlobs
from paper_company import sha
from story import Golden, Story


@pytest.mark.one_engine
async def test_rollback_to_what_was_collected(story: Story, golden: Golden, tmp_path: Path) -> None:
    """From the regions: it is copied there again, from the main store. From that as well: somebody has to build it again."""
    await story.fleet.join({"eu": 8, "us": 8})
    for commit in "abcdef":
        await story.deploy(commit)
        await story.until_ended()
    story.lines.clear()
    main = DirectoryBlobs(tmp_path / "main", data_url="http://x", data_key=b"k" * 32)
    keep = Bounds(days=1e6, per_service=10**6, bytes=0, grace_s=0)
    nothing = replace(keep, per_service=0)

    async def collected(bounds: Policy, said: str) -> None:
        collector = Collector(story.company.database, story.company.kv, main, bounds)
        await collector.decide()
        await collector.finish()
        story.say(said)

    await collected(Policy(keep, nothing), "a and b are collected from the regions")
    story.say(f"somebody rolls back to a: {await story.company.rollback('a')}")
    await story.go_on(2)
    story.say("a is copied into every bucket")
    await story.company.replicate("a")
    await story.until_ended()
    await collected(Policy(nothing, nothing), "b is collected from the main store")
    with pytest.raises(Refused) as refused:
        await story.company.rollback("b")
    story.say(f"somebody rolls back to b, and is refused: {refused.value.message.replace(sha('b'), 'b')}")
    golden(story)
