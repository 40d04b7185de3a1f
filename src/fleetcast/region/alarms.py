"""What a person should know, kept until it has stopped happening for a while. Pure: ``now`` is an argument."""

from __future__ import annotations

from fleetcast.model.limits import ALARM_LIFETIME_S, ALARMS_MAX


class Alarms:
    """One-line alarms. Raising one again keeps it alive; the oldest give way when there are too many."""

    def __init__(self) -> None:
        self._raised: dict[str, float] = {}

    def raise_alarm(self, text: str, now: float) -> bool:
        """Note ``text`` at ``now`` (monotonic seconds); True when it was not up already."""
        new = self._raised.pop(text, None) is None
        self._raised[text] = now
        while len(self._raised) > ALARMS_MAX:
            del self._raised[next(iter(self._raised))]
        return new

    def current(self, now: float) -> tuple[str, ...]:
        """Those raised within ``ALARM_LIFETIME_S``, oldest first."""
        self._raised = {text: at for text, at in self._raised.items() if now - at <= ALARM_LIFETIME_S}
        return tuple(self._raised)
