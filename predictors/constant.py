"""The next value is the last one."""

from __future__ import annotations

from predictors.series import Model


class ConstantModel(Model):
    """Expects what was seen last: hard to beat one step ahead."""

    def __init__(self) -> None:
        self._last: float | None = None

    def take(self, value: float | None, time: float | None) -> None:
        """Remember the value."""
        del time
        self._last = self._last if value is None else value

    def expect(self, horizon_steps: int) -> float | None:
        """The last value, however far ahead."""
        del horizon_steps
        return self._last
