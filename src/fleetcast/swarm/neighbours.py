"""Whom a machine fetches from: addresses it has heard of, whom to dial, whom to leave for another.

Pure.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from random import Random
from typing import Final

from fleetcast.model.ids import MachineId
from fleetcast.model.limits import (
    SWARM_CHANGE_S_MIN,
    SWARM_CROWDED,
    SWARM_DIALS_IN_VAIN_MAX,
    SWARM_GATHERING_S,
    SWARM_INTRODUCED_MAX,
    SWARM_KNOWN_PEERS_MAX,
    SWARM_NEIGHBOURS,
    SWARM_NEIGHBOURS_FAR,
    SWARM_NEIGHBOURS_FIRST,
    SWARM_NEWCOMER_S_MIN,
    SWARM_REDIAL_S_MAX,
    SWARM_STARVING_S_MAX,
    SWARM_UNPAID_S_MAX,
    SWARM_USELESS_S_MAX,
)
from fleetcast.model.messages.agents import PeerAddress

REDIAL_S_MIN: Final = 0.25
_NOBODY_SAID: Final[Mapping[str, int]] = {}


@dataclass(slots=True)
class _Contact:
    address: PeerAddress
    connected: bool = False
    greeted: bool = False
    """It has told us what it has."""
    failures: int = 0
    """Since it last gave us something: a greeting costs nothing."""
    not_before: float = 0.0
    useful_at: float = 0.0
    """When it last gave us something, or was dialled."""


class Neighbourhood:
    """All times are seconds of one monotonic clock."""

    def __init__(self, me: MachineId, zone: str = "", rack: str = "") -> None:
        """``rack``, in its ``zone``, is ours; empty: unknown, and all are equally near."""
        self._me = me
        self._place = (zone, rack) if rack else None
        self._contacts: dict[MachineId, _Contact] = {}
        self._banned: dict[MachineId, str] = {}
        self._newcomers = 0
        """Met since somebody was last left for one of them."""
        self._introduced = False
        self._dialled_at: float | None = None
        self._changed_at = float("-inf")
        """When a neighbour was last left for another, at first when the first was dialled."""

    def meet(self, addresses: Iterable[PeerAddress]) -> bool:
        """Remember peers, up to ``SWARM_KNOWN_PEERS_MAX``; a new address replaces an old one. True: that is news."""
        news = not self._introduced
        self._introduced = True
        for address in addresses:
            if address.machine == self._me or address.machine in self._banned:
                continue
            contact = self._contacts.get(address.machine)
            if contact is not None:
                if (contact.address.host, contact.address.port) != (address.host, address.port):
                    contact.address, contact.failures, contact.not_before = address, 0, 0.0
                    news = True
            elif len(self._contacts) < SWARM_KNOWN_PEERS_MAX:
                self._contacts[address.machine] = _Contact(address)
                self._newcomers += 1
                news = True
        return news

    def dial(self, now: float, rng: Random) -> tuple[PeerAddress, ...]:
        """Peers to connect to now; they count as connected until :meth:`ended`. Of a swarm that may have just begun a few, the
        others a little later: by then those that came last are among them.
        """
        near = sum(contact.connected and self.near(contact.address) for contact in self._contacts.values())
        far = sum(contact.connected for contact in self._contacts.values()) - near
        ready = self._ready(now)
        most = SWARM_NEIGHBOURS_FIRST if self._gathering(now) else SWARM_NEIGHBOURS
        chosen = _sample([contact for contact in ready if self.near(contact.address)], most - near, rng)
        far_max = min(most, max(SWARM_NEIGHBOURS_FAR, most - near - len(chosen))) if self._place else 0
        chosen += _sample([contact for contact in ready if not self.near(contact.address)], far_max - far, rng)
        if chosen and self._dialled_at is None:
            self._dialled_at = self._changed_at = now
        for contact in chosen:
            contact.connected = True
            contact.useful_at = now
        return tuple(contact.address for contact in chosen)

    def _gathering(self, now: float) -> bool:
        """The swarm may have just begun: those who come next are known to nobody yet, and are to be asked too."""
        if len(self._contacts) >= SWARM_INTRODUCED_MAX:
            return False
        return self._dialled_at is None or now - self._dialled_at < SWARM_GATHERING_S

    def near(self, address: PeerAddress) -> bool:
        """Whether it shares our rack."""
        return self._place is None or (address.zone, address.rack) == self._place

    def _ready(self, now: float) -> list[_Contact]:
        return [contact for contact in self._contacts.values() if not contact.connected and contact.not_before <= now]

    def greeted(self, machine: MachineId) -> None:
        """A dialled peer told us what it has."""
        self._contacts[machine].greeted = True

    def useful(self, machine: MachineId, now: float) -> None:
        """A connected peer gave us a piece."""
        contact = self._contacts[machine]
        contact.useful_at, contact.failures = now, 0

    def ended(self, machine: MachineId, now: float, rng: Random, *, failed: bool) -> None:
        """A connection, or the attempt at one, is over."""
        contact = self._contacts.get(machine)
        if contact is None:
            return
        contact.connected = contact.greeted = False
        contact.failures += failed
        if contact.failures >= SWARM_DIALS_IN_VAIN_MAX:
            del self._contacts[machine]
            return
        pause = min(SWARM_REDIAL_S_MAX, REDIAL_S_MIN * 4**contact.failures)
        contact.not_before = now + pause * (0.5 + rng.random() / 2)

    def ban(self, machine: MachineId, reason: str) -> None:
        """Never have to do with this peer again."""
        self._contacts.pop(machine, None)
        self._banned[machine] = reason

    def replaceable(
        self,
        now: float,
        rng: Random,
        *,
        starving: bool = False,
        owing: Container[str] = (),
        askers: Mapping[str, int] = _NOBODY_SAID,
    ) -> MachineId | None:
        """A neighbour to leave for somebody else, if there is one: any for a newcomer, as often as makes those we have a fair
        sample of all we met (reservoir sampling); else one that gave nothing for ``SWARM_USELESS_S_MAX`` or, when there is
        nothing to ask of anybody (``starving``), for ``SWARM_STARVING_S_MAX``; else one that serves many more than the others
        do, by what they said (``askers``). Rather one that is not ``owing`` anything, and one in ``SWARM_CHANGE_S_MIN``: a
        greeting costs both sides more than a piece, and who changes all of its neighbours at a time has none.

        Without the first, those that come first know only one another, and what the others have does not reach them; without
        the second, neighbours that all lack the same piece could keep each other for ever; without the third, by chance some
        are asked by twice as many as others, and those who ask them wait while other links idle.
        """
        connected = [contact for contact in self._contacts.values() if contact.connected]
        if now - self._changed_at < SWARM_CHANGE_S_MIN or len(connected) < SWARM_NEIGHBOURS or not self._ready(now):
            return None
        leaving: list[_Contact] = []
        while self._newcomers and not leaving and now - self._changed_at >= SWARM_NEWCOMER_S_MIN:
            self._newcomers -= 1
            if rng.random() < SWARM_NEIGHBOURS / len(self._contacts):
                leaving = connected
        if not leaving:
            patience_s = SWARM_STARVING_S_MAX if starving else SWARM_USELESS_S_MAX
            leaving = [contact for contact in connected if now - contact.useful_at > patience_s]
        if not leaving:
            leaving = _crowded(connected, askers)
        if not leaving:
            return None
        self._changed_at = now
        return rng.choice([each for each in leaving if each.address.machine not in owing] or leaving).address.machine

    def settled(self, now: float) -> bool:
        """It is not too early to ask the origin for what no neighbour has: the region has introduced us, and either some
        neighbour has told what it has, or each of those known has failed us once, or they had ``SWARM_UNPAID_S_MAX``.
        """
        if any(contact.connected and contact.greeted for contact in self._contacts.values()):
            return True
        if self._dialled_at is not None and now - self._dialled_at > SWARM_UNPAID_S_MAX:
            return True
        return self._introduced and all(contact.failures > 0 for contact in self._contacts.values())

    def want(self) -> int:
        """How many introductions to ask for."""
        return max(0, SWARM_INTRODUCED_MAX - len(self._contacts))

    @property
    def connected(self) -> int:
        """Neighbours that have told what they have."""
        return sum(contact.connected and contact.greeted for contact in self._contacts.values())


def _crowded(connected: list[_Contact], askers: Mapping[str, int]) -> list[_Contact]:
    """The one that serves most, if that is ``SWARM_CROWDED`` times what neighbours serve on average."""
    told = [(askers[each.address.machine], each) for each in connected if each.address.machine in askers]
    most, contact = max(told, key=itemgetter(0), default=(0, None))
    if contact is None or most * len(told) <= SWARM_CROWDED * sum(each for each, _ in told):
        return []
    return [contact]


def _sample(contacts: list[_Contact], most: int, rng: Random) -> list[_Contact]:
    return rng.sample(contacts, max(0, min(len(contacts), most)))
