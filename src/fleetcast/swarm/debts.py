"""What one neighbour owes: whether it keeps its word is judged by what it was asked for, never by what it claims.

Pure.
"""

from __future__ import annotations

from fleetcast.model.limits import SWARM_IN_LINE_S_MAX, SWARM_SLOW_BYTES_PER_S, SWARM_UNPAID_S_MAX


class Debts:
    """All times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self.asked: dict[int, float] = {}
        """Piece -> when it was asked for. To be read; what changes it is below."""
        self._news_asked: float | None = None
        self._paid_at = float("-inf")
        self._in_line_at = float("-inf")
        self.limited = False
        """Its own rate limit held up the last piece it brought, or holds up the next."""
        self._arrived = 0
        self._our_turn = False

    def ask(self, piece: int, now: float) -> None:
        self.asked[piece] = now

    def ask_news(self, now: float) -> None:
        self._news_asked = now

    def told(self) -> None:
        """It answered the question for news."""
        self._news_asked = None

    def in_line(self, now: float) -> None:
        """It says that what it owes waits for its rate limit. Nothing happens when it owes nothing."""
        if self.asked:
            self._in_line_at, self.limited = now, True

    def arriving(self, arrived: int) -> None:
        """So many bytes of the piece it is sending are here, not verified yet."""
        self._arrived = arrived

    def verified(self, piece: int) -> None:
        """A piece came and is right. Until :meth:`paid` it is we who are slow."""
        if self.asked.pop(piece, None) is not None:
            self._our_turn = True

    def paid(self, now: float) -> None:
        """We are done with what came and ready for the next."""
        self.limited = self._in_line_at > self._paid_at
        self._paid_at, self._arrived, self._our_turn = now, 0, False

    def cancel(self, piece: int) -> None:
        """It will not bring this piece. Nothing happens if it was never asked."""
        self.asked.pop(piece, None)

    def waited_s(self, now: float) -> float:
        """How long we have been waiting for the next answer, or for word that it waits for a limit; 0 when it owes none."""
        return min(self._without_answer_s(now), now - self._in_line_at)

    def _without_answer_s(self, now: float) -> float:
        since = min(self.asked.values(), default=self._news_asked)
        if since is None or self._our_turn:
            return 0.0
        return now - max(since, self._paid_at)

    def overdue(self, now: float) -> bool:
        """It keeps us waiting longer than ``SWARM_UNPAID_S_MAX`` and the bytes that came meanwhile excuse. A piece has at most
        ``CHUNK_BYTES_MAX`` of them, so what never gets verified buys little. That it waits for a limit excuses it for
        ``SWARM_IN_LINE_S_MAX``.
        """
        if self._without_answer_s(now) > SWARM_IN_LINE_S_MAX:
            return True
        return self.waited_s(now) > SWARM_UNPAID_S_MAX + self._arrived / SWARM_SLOW_BYTES_PER_S
