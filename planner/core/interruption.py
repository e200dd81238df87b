"""Prompts that a worker takes up while it runs a sequence, and how late they make its tokens."""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass

from planner.core.queueing import gamma_beyond
from planner.core.sizing import Spread

# What is less likely decides nothing.
_RARE = 1e-6
# A third root of unity.
_THIRD = cmath.exp(2j * math.pi / 3)


@dataclass(frozen=True, slots=True)
class Interruptions:
    """How many prompts interrupt a sequence.

    Attributes:
        none: Probability that none does.
        one: Probability that one does.
        mean: Mean number of them if they are more.
        variance: Variance of that number if they are more.
    """

    none: float
    one: float
    mean: float
    variance: float

    @property
    def more(self) -> float:
        """Probability that they are more than one."""
        return max(0.0, 1 - self.none - self.one)


def interruptions(
    turns: float, *, age: float = 0.0, other: float = 1.0, waiting: float = 0.0, rounds: float = 1.0
) -> Interruptions:
    """The prompts that come within some turns, a turn being the mean time between two prompts of a worker.

    The next prompt goes to whoever has the fewest sequences. A worker that is given one takes it up, is passed over
    until one of its own sequences has ended, and those that wait with as few have had their turn: gaps have three
    phases, which makes them Erlang's of order three, counted from the moment the prompt was taken up (D. R. Cox,
    "Renewal Theory", 1962, section 4.2). An output that is over before its worker's next turn leaves it with the
    fewest sequences again, so that the prompt after it goes there, too. Seen from a sequence that stays, only other
    prompts begin something new, at random, and the rest follow these.

    Args:
        turns: How many, 0 or more.
        age: Turns since the worker took up the prompt of the sequence itself.
        other: Share of prompts that do not go where an output was over just before.
        waiting: Probability that prompts wait when the sequence's own is done.
        rounds: How many its worker takes up then, one after the other; 1 or more.
    """
    fresh = other * max(0.0, _renewals(age + turns) - _renewals(age))
    again = (1 - other) * -math.expm1(-turns)
    alone = math.exp(-fresh)
    none = (1 - waiting) * alone
    one = (1 - waiting) * fresh * alone * (1 - again) + waiting * alone
    more = 1 - none - one
    if more < _RARE:
        return Interruptions(none=none, one=1 - none, mean=2.0, variance=0.0)
    mean = fresh * (1 + again) + waiting * rounds
    square = fresh * (1 + 3 * again) + mean**2
    if_more = (mean - one) / more
    return Interruptions(none=none, one=one, mean=if_more, variance=max(0.0, (square - one) / more - if_more**2))


def _renewals(time: float) -> float:
    """Mean number within a time of renewals whose gaps are Erlang's of order three with mean 1."""
    swing = _THIRD / (1 - _THIRD) / 3 * (1 - cmath.exp(-3 * (1 - _THIRD) * time))
    return time + 2 * swing.real


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted:
    """A batch on a worker that takes up prompts besides.

    Attributes:
        lone_s: A step of a single sequence, seconds.
        step_s: A step of the batch that sequences see, seconds.
        rise_s: How much longer a step is when all batches are a standard deviation larger, seconds.
        busy: Share of time that goes to prompts.
        prompts: Shares of prompts with the time they take, seconds.
        prompts_rps: Prompts that come to all workers, per second.
        burstiness: Variance of the prompts' tokens that arrive, over that of independent requests.
        workers: How many share them.
        other: Share of prompts that do not go where an output was over just before.
        waiting: Probability that prompts wait for workers.
        rounds: How many a worker takes up then, one after the other.
    """

    lone_s: float
    step_s: float
    rise_s: float
    busy: float
    prompts: Spread
    prompts_rps: float
    burstiness: float
    workers: int
    other: float
    waiting: float
    rounds: float

    def late(self, target_s: float, steps: float, evened: float) -> float:
        """Probability that the mean ITL of an output exceeds a target.

        What is beyond the ITL of a lone sequence is taken to be gamma distributed.

        Args:
            target_s: The target, seconds.
            steps: Tokens of the output after the first; above 0.
            evened: What is left of the swings of the batch in the mean over the output; 1 for all.
        """
        turns = steps * self.step_s / (1 - self.busy) * self.prompts_rps / self.workers
        # Prompts took up as many turns as free workers were given one meanwhile.
        age = self.busy / (1 - self.busy)
        found = interruptions(turns, age=age, other=self.other, waiting=self.waiting, rounds=self.rounds)
        slack_s, batch_s, swing_s = target_s - self.lone_s, self.step_s - self.lone_s, self.rise_s * evened
        late = found.none * gamma_beyond(slack_s, batch_s, swing_s**2)
        if found.one > _RARE:
            late += found.one * math.fsum(
                share * gamma_beyond(slack_s, batch_s + time_s / steps, swing_s**2) for share, time_s in self.prompts
            )
        if found.more > _RARE:
            # Batches are large while prompts are many.
            together_s = swing_s / (1 - self.busy) + self._everywhere_s(turns) / steps
            variance_s2 = together_s**2 + self._here_s2(found) / steps**2
            late += found.more * gamma_beyond(slack_s, batch_s + found.mean * self._prompt_s / steps, variance_s2)
        return late

    def _everywhere_s(self, turns: float) -> float:
        """Standard deviation of the time that prompts take which come within some turns, as all workers have alike."""
        waiting_s2 = self.waiting * (1 - self.waiting) * (self.rounds * self._prompt_s) ** 2
        return math.sqrt(turns * self._prompt_square_s2 * self.burstiness / self.workers + waiting_s2)

    def _here_s2(self, found: Interruptions) -> float:
        """Variance of the time that more than one prompt takes, beyond what all workers have alike."""
        lengths_s2 = found.mean * (self._prompt_square_s2 - self._prompt_s**2)
        return (lengths_s2 + found.variance * self._prompt_s**2) * (1 - 1 / self.workers)

    @property
    def _prompt_s(self) -> float:
        return math.fsum(share * time_s for share, time_s in self.prompts)

    @property
    def _prompt_square_s2(self) -> float:
        return math.fsum(share * time_s**2 for share, time_s in self.prompts)
