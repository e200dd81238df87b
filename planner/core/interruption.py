"""Prompts that a worker takes up while it runs a sequence, and how late they make its tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass

from planner.core.queueing import gamma_beyond

# Within so few turns nobody interrupts, and the formulas lose their digits.
_FEWEST_TURNS = 1e-3
# Within so many somebody does, and what the formulas tend to is as good as they are.
_MANY_TURNS = 10.0


@dataclass(frozen=True, slots=True)
class Interruptions:
    """How many prompts interrupt a sequence.

    Attributes:
        none: Probability that none does.
        mean: Mean number of those that do, if any does.
        variance: Variance of that number, if any does.
    """

    none: float
    mean: float
    variance: float


def interruptions(turns: float) -> Interruptions:
    """The prompts that come within some turns, a turn being the mean time between two prompts of a worker.

    The next prompt goes to whoever has the fewest sequences. A worker that has just got one is passed over until one of
    its own has ended, and those that wait with as few have had their turn: gaps have two phases, which makes them
    Erlang's of order two, counted from one prompt on (D. R. Cox, "Renewal Theory", 1962, section 3.2). Of a Poisson
    number of phases that end, every second one brings a prompt.

    Args:
        turns: How many, 0 or more.
    """
    if turns < _FEWEST_TURNS:
        return Interruptions(none=1.0, mean=1.0, variance=0.0)
    if turns > _MANY_TURNS:
        return Interruptions(none=0.0, mean=turns - 1 / 4, variance=turns / 2 + 1 / 16)
    parity = math.exp(-4 * turns)
    mean = turns - (1 - parity) / 4
    variance = turns / 2 - turns * parity + (1 - parity**2) / 16
    none = (1 + 2 * turns) * math.exp(-2 * turns)
    any_mean = mean / (1 - none)
    any_square = (variance + mean**2) / (1 - none)
    return Interruptions(none=none, mean=any_mean, variance=max(0.0, any_square - any_mean**2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted:
    """A batch on a worker that takes up prompts besides.

    Attributes:
        lone_s: A step of a single sequence, seconds.
        step_s: A step of the batch that sequences see, seconds.
        rise_s: How much longer a step is when all batches are a standard deviation larger, seconds.
        busy: Share of time that goes to prompts.
        prompt_s: Mean time of a prompt, seconds.
        prompt_square_s2: Mean square of the time of a prompt.
        prompts_rps: Prompts that come to all workers, per second.
        burstiness: Variance of the prompts' tokens that arrive, over that of independent requests.
        workers: How many share them.
    """

    lone_s: float
    step_s: float
    rise_s: float
    busy: float
    prompt_s: float
    prompt_square_s2: float
    prompts_rps: float
    burstiness: float
    workers: int

    def late(self, target_s: float, tokens: float, evened: float, rounds: float) -> float:
        """Probability that the mean ITL of an output exceeds a target.

        What is beyond the ITL of a lone sequence is taken to be gamma distributed.

        Args:
            target_s: The target, seconds.
            tokens: Length of the output.
            evened: What is left of the swings of the batch in the mean over the output; 1 for all.
            rounds: Prompts that each worker takes up at once, one after the other, as they wait.
        """
        turns = tokens * self.step_s / (1 - self.busy) * self.prompts_rps / self.workers
        prompts = interruptions(turns + rounds)
        slack_s, batch_s, swing_s = target_s - self.lone_s, self.step_s - self.lone_s, self.rise_s * evened
        if_none = gamma_beyond(slack_s, batch_s, swing_s**2) if prompts.none else 0.0
        everywhere_s2 = turns * self.prompt_square_s2 * self.burstiness / self.workers
        here_s2 = prompts.mean * (self.prompt_square_s2 - self.prompt_s**2) + prompts.variance * self.prompt_s**2
        # Batches are large while prompts are many.
        together_s = swing_s / (1 - self.busy) + (math.sqrt(everywhere_s2) + rounds * self.prompt_s) / tokens
        mean_s = batch_s + prompts.mean * self.prompt_s / tokens
        if_any = gamma_beyond(slack_s, mean_s, together_s**2 + here_s2 / tokens**2)
        return prompts.none * if_none + (1 - prompts.none) * if_any
