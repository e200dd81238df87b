"""How much of a window was scraped."""

from __future__ import annotations

from dataclasses import dataclass

# Prometheus takes a gap at the edge of a window for the usual one between samples up to this many average ones.
_USUAL_GAPS = 1.1
_FRESH_GAPS = 3.0

# The first scrape of a window is looked for in so many steps.
STEPS = 30

# A window of which less was scraped says too little about the rest of it.
_LEAST_SHARE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """The scrapes of all servers together, in a window.

    Attributes:
        start: Beginning of the window, seconds since the epoch.
        end: Its end.
        oldest: Time of the first scrape within it; None if there is none.
        newest: Time of the last scrape, maybe from before the window; None if it is too long ago to be known.
        samples: How often the server that was scraped most was scraped within it.
    """

    start: float
    end: float
    oldest: float | None
    newest: float | None
    samples: int

    @property
    def period_s(self) -> float | None:
        """Mean time between scrapes, seconds; None with fewer than two."""
        if self.oldest is None or self.newest is None or self.samples < 2:
            return None
        return (self.newest - self.oldest) / (self.samples - 1)

    @property
    def blindness(self) -> str | None:
        """Why nothing is known of the window; None if something is."""
        if self.newest is None:
            return "no frontend is being scraped: Prometheus has no recent series of any"
        age = self.end - self.newest
        if age > max(self.end - self.start, _FRESH_GAPS * (self.period_s or 0.0)):
            return f"stale: the newest sample is {age:.0f} s old"
        return None

    @property
    def gap(self) -> str | None:
        """Why the window's counters cannot be told; None if enough of it was scraped."""
        window_s = self.end - self.start
        if self.period_s is None:
            return (
                f"fewer than two scrapes within {window_s:g} s; if that stays so, lengthen --adjustment-interval "
                "or scrape more often"
            )
        if self.share < _LEAST_SHARE:
            return f"only {self.share * window_s:.0f} of the last {window_s:g} s were scraped"
        return None

    @property
    def from_start(self) -> bool:
        """Whether there were scrapes from the beginning of the window on."""
        return self.oldest is not None and self._usual(self.oldest - self.start)

    @property
    def share(self) -> float:
        """The share of the window that ``increase`` speaks for, between 0 and 1.

        It extrapolates to an edge of the window that is a usual gap away, and by half a gap otherwise.
        """
        if self.oldest is None or self.newest is None or self.period_s is None:
            return 0.0
        edges = (self.oldest - self.start, self.end - self.newest)
        spoken_for = self.newest - self.oldest + sum(gap if self._usual(gap) else self.period_s / 2 for gap in edges)
        return min(1.0, spoken_for / (self.end - self.start))

    def _usual(self, gap_s: float) -> bool:
        # Looked for in steps, the first scrape may seem later than it was by as much.
        step_s = (self.end - self.start) / STEPS
        return gap_s <= max(_USUAL_GAPS * (self.period_s or 0.0), 2 * step_s)
