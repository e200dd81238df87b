"""What models that are fitted do alike: one fit under way at a time, put off while a past is taken in."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any

from predictors.fitting import Fit, Fitter
from predictors.series import Model


class FittedModel(Model):
    """A model whose parameters come of fits; a subclass begins them, and adopts what came of them."""

    def __init__(self, fitter: Fitter) -> None:
        """Start without a fit.

        Args:
            fitter: Where to fit.
        """
        self._fit = Fit(fitter)

    def holding_fits(self) -> AbstractContextManager[None]:
        """A context in which much is taken in and the model is fitted only at the end."""
        return self._fit.holding()

    @property
    def pending(self) -> Future[Any] | None:
        """The fit under way, if any."""
        return self._fit.pending

    @property
    def last_error(self) -> str | None:
        """Why the last fit failed, if it did."""
        return self._fit.last_error
