"""A host of the lab: where it is, and how a program runs on it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Host:
    """A place for programs: a network namespace with an address, or this machine's own network (loopback)."""

    name: str
    address: str
    namespace: str = ""  # none: this machine's own network
    zone: str = ""
    rack: str = ""

    def command(self, argv: list[str]) -> list[str]:
        """`argv` as it runs on this host: it keeps its process id, for `ip` becomes it."""
        return ["ip", "netns", "exec", self.namespace, *argv] if self.namespace else argv
