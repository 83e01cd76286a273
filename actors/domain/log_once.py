"""Saying a trouble once, and once that it is over: an hour's outage is two lines in the log."""

from __future__ import annotations


class Complaint:
    """Remembers the trouble that was last spoken of."""

    def __init__(self) -> None:
        self._said: str | None = None

    def raise_(self, trouble: str) -> bool:
        """Note ``trouble``; True when it is news and should be said."""
        news = trouble != self._said
        self._said = trouble
        return news

    def settle(self) -> bool:
        """Note that all is well; True when there was a trouble to take back."""
        had, self._said = self._said is not None, None
        return had
