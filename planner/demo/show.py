"""``python -m planner demo``: the real daemon driving a stand-in, in fast motion."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from connectors.virtual import VirtualConnector, VirtualConnectorClient
from planner.cli import Invocation, failed
from planner.clock import ScaledClock
from planner.daemon import PlannerDaemon
from planner.demo.orchestrator import follow
from planner.demo.plot import plot
from planner.demo.screen import Screen
from planner.demo.standin import StandIn
from planner.demo.story import Moment, Story
from planner.engines import load_profile
from planner.output import prepare
from planner.settings import ConfigurationError, Settings
from planner.simulation.arrival import Arrival
from planner.simulation.load import Traffic, day_curve, with_burst
from profiles import ProfileError, sample_profile_dir

_LOW_RPS, _HIGH_RPS, _BURST = 4.0, 34.0, 1.25
_ISL, _OSL = 6000, 400
_LOOK_EVERY_S = 5.0
# A machine that is busy with something else makes the demo take longer, and nobody in it wait longer.
_LONGEST_GAP_S = 0.1

# What the demo runs with where the user says nothing else.
_DEFAULTS: dict[str, Any] = {
    "profile_results_dir": str(sample_profile_dir()),
    "adjustment_interval": 60.0,
    "ttft": 800.0,
    "itl": 15.0,
    "isl": float(_ISL),
    "osl": float(_OSL),
    "max_gpu_budget": 24,
    "worker_startup": 90.0,
    "virtual_listen": "127.0.0.1:0",
}


def demo(invocation: Invocation) -> int:
    """Run the demo.

    Returns:
        The exit code.
    """
    extras = invocation.extras
    chosen = {name: getattr(invocation.settings, name) for name in invocation.origins}
    try:
        prepare(extras.output)
        with tempfile.TemporaryDirectory() as state:
            asyncio.run(
                _play(
                    {**_DEFAULTS, "state_dir": state, **chosen},
                    speed=extras.speed,
                    duration_s=extras.duration,
                    seed=extras.seed,
                    output=extras.output,
                )
            )
    except (ProfileError, ConfigurationError, ValueError) as error:
        return failed(invocation, error)
    return 0


async def _play(options: dict[str, Any], *, speed: float, duration_s: float, seed: int, output: Path) -> None:
    clock = ScaledClock(speed, longest_gap_s=_LONGEST_GAP_S)
    length_s = speed * duration_s
    begin = clock.now()
    chosen = Settings(**{**options, "environment": "virtual"})
    async with StandIn(
        load_profile(chosen),
        _traffic(begin, length_s, seed),
        clock,
        startup_s=chosen.worker_startup,
        step_tokens=chosen.max_num_batched_tokens if chosen.aggregated else None,
        frontends=2,
    ) as standin:
        settings = Settings(
            **{
                **options,
                "environment": "virtual",
                "metrics_source": "scrape",
                "frontend_metrics_url": tuple(standin.urls),
            }
        )
        story = Story(settings, begin)
        with Screen(settings, story, length_s=length_s, speed=speed, most_rps=_HIGH_RPS * _BURST) as screen:
            daemon = PlannerDaemon(settings, clock=clock, on_record=lambda record: screen.show(story.add(record)))
            async with daemon, _orchestrated(daemon, standin, clock), _sampled(story, standin, clock):
                running = asyncio.create_task(daemon.run())
                await clock.sleep_until(begin + length_s)
                daemon.stop()
                await running
    story.finish(standin.finished, daemon.planner.profile)
    screen.summarise(output / "demo.png")
    await asyncio.to_thread(plot, story, output / "demo.png")


def _traffic(begin: float, length_s: float, seed: int) -> Iterator[Arrival]:
    rate = with_burst(
        day_curve(low_rps=_LOW_RPS, high_rps=_HIGH_RPS, period_s=length_s),
        begin=0.25 * length_s,
        length_s=0.1 * length_s,
        factor=_BURST,
    )
    traffic = Traffic(rate, most_rps=_HIGH_RPS * _BURST, isl=_ISL, osl=_OSL, generator=np.random.default_rng(seed))
    return traffic.arrivals(begin)


@contextlib.asynccontextmanager
async def _orchestrated(daemon: PlannerDaemon, standin: StandIn, clock: ScaledClock) -> Any:
    """An orchestrator that follows the daemon's decisions over HTTP, as one on another machine would."""
    assert isinstance(daemon.connector, VirtualConnector)  # noqa: S101 - the demo asks for it
    assert daemon.connector.url is not None  # noqa: S101 - it listens
    async with (
        VirtualConnectorClient.connect(daemon.connector.url) as client,
        _background(follow(client, standin, clock, look_every_s=_LOOK_EVERY_S)),
    ):
        yield


@contextlib.asynccontextmanager
async def _sampled(story: Story, standin: StandIn, clock: ScaledClock) -> Any:
    async def sample() -> None:
        while True:
            prefill, decode = standin.workers()
            story.moments.append(
                Moment(
                    time=clock.now(),
                    arrived=standin.arrived_total,
                    prefill=prefill,
                    decode=decode,
                    queued=standin.deployment.queued,
                )
            )
            await clock.sleep_until(clock.now() + _LOOK_EVERY_S)

    async with _background(sample()):
        yield


@contextlib.asynccontextmanager
async def _background(work: Any) -> Any:
    """Run something beside the body; its failure is the body's, its end is the body's end."""
    task = asyncio.ensure_future(work)
    try:
        yield
        if task.done():
            task.result()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
