"""What the profile expects of the latencies at the load that was observed, and what that load is to decode workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.core.observation import Observation

if TYPE_CHECKING:
    from profiles import EngineProfile


def expected_ttft_ms(profile: EngineProfile, observation: Observation) -> float | None:
    """TTFT of an idle prefill worker at the observed ISL, milliseconds; None if the ISL is unknown."""
    return profile.prefill.ttft_ms(observation.isl) if observation.isl else None


def expected_itl_ms(profile: EngineProfile, observation: Observation, lengthening: float = 1.0) -> float | None:
    """ITL of a decode worker at the observed concurrency and context length, milliseconds; None if one is unknown.

    Args:
        profile: What engines can do.
        observation: What was seen.
        lengthening: Mean output of the sequences in a batch over that of all requests: long ones stay longer.
    """
    concurrency = decode_concurrency(observation)
    if concurrency is None or not (observation.isl and observation.osl):
        return None
    return profile.decode.itl_ms(max(1.0, concurrency), observation.isl + observation.osl / 2 * lengthening)


def decode_concurrency(observation: Observation) -> float | None:
    """Sequences that a ready decode worker had on average, by Little's law; None if it cannot be known.

    The time a sequence decodes is its duration without the first token's wait, or OSL times ITL where no duration is
    reported. (J. D. C. Little, "A Proof for the Queuing Formula L = lambda W", Operations Research 9(3), 1961.)
    """
    if observation.decode is None or not observation.decode.ready:
        return None
    requests = observation.requests_completed or observation.requests_started
    decoding_s = _decoding_time_s(observation)
    if not requests or decoding_s is None:
        return None
    return requests / observation.interval * decoding_s / observation.decode.ready


def sequences_decoding(observation: Observation, target_ms: float) -> float:
    """Sequences that decode at the end of an interval, as many as there would be within an ITL target; 0 if unknown.

    Args:
        observation: The interval.
        target_ms: The target, milliseconds.
    """
    if observation.inflight is None:
        return 0.0
    decoding = max(0.0, observation.inflight - _before_first_token(observation))
    if observation.decode is not None and not observation.decode.ready:
        # They wait for a worker that is coming, which will serve them in turn: one, however many they are.
        return min(1.0, decoding)
    if observation.itl_ms:
        # Sequences that are slower than they should be are more than there would be at the right speed.
        decoding *= min(1.0, target_ms / observation.itl_ms)
    return decoding


def _before_first_token(observation: Observation) -> float:
    """Requests that wait for their first token; by Little's law where nobody counts them."""
    if observation.queued is not None:
        return observation.queued
    return (observation.request_rate_rps or 0.0) * (observation.ttft_ms or 0.0) / 1000


def _decoding_time_s(observation: Observation) -> float | None:
    if observation.request_duration_s is not None:
        return max(0.0, observation.request_duration_s - (observation.ttft_ms or 0.0) / 1000)
    if observation.osl is not None and observation.itl_ms is not None:
        return observation.osl * observation.itl_ms / 1000
    return None
