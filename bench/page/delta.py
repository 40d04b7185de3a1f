"""The section on what enters a machine for an edited release (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.page.tables import size, table

NAMES = {"first": "the first", "scattered": "scattered", "inserted": "inserted"}
PARTS = {
    "region_bytes": "from the region's API, bytes",
    "origin_bytes": "from its data port",
    "peer_bytes": "from other machines",
    "unknown_bytes": "from one of these, not known which",
    "content_bytes": "of all that, content",
    "manifest_bytes": "manifest",
    "protocol_bytes": "everything else",
}


def delta(result: Mapping[str, Any]) -> str:
    """The greatest of each edit, in its parts, beside the release before."""
    told = [result[name] for name in NAMES]
    rows = [["over the size", *(f"{each['wire_over_size']:.5f}" for each in told)]]
    rows.append(["least of any machine", *(f"{each['spread']['wire_over_size'][0]:.5f}" for each in told)])
    rows.append(["wanted at most", *(f"{each['target']:g}" if "target" in each else "-" for each in told)])
    rows += [[what, *(str(each["worst"][part]) for each in told)] for part, what in PARTS.items()]
    changed = {name: result[name]["changed_bytes"] for name in ("scattered", "inserted")}
    seeds = "one seed" if result["runs"] == 1 else f"seeds 1 to {result['runs']}"
    return f"""## What an edited release costs

{result["machines"]} machines over loopback have a release of {size(result["size_bytes"])}, one file of random bytes,
and get the next one, built from the same seed and edited: **scattered**, {changed["scattered"]} bytes overwritten
in 20 ranges of random lengths at random places, or **inserted**, {size(changed["inserted"])} put in front of everything.
Each edit of each seed is made in a company of its own, whose machines have nothing but the release before.
Made by `{result["command"]}`: {seeds}; of all machines the one counts that most entered.

Counted is what enters a machine's agent over TCP, from before the trigger until control says that the deployment has
succeeded: every byte of every connection as the kernel counts it for the socket (`lab/traffic.py`), so the content, the
manifest, and what is said about them: the signed root, goals, tickets, introductions, leases, permits, answers to reports,
who has what, what is asked of this machine, with HTTP's headers and the swarm's own. The region's API and data port and the
other machines are told apart by their ports. The content is what the machine itself says to have verified, each chunk once;
the manifest is those of its pieces that the one before does not have. Headers of packets are not counted: with Ethernet's
1500 bytes they are 66 to each 1448, 4.6% more. The first release, of which nothing is there, is told to compare.

{table(["", *NAMES.values()], rows)}"""
