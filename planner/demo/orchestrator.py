"""What an orchestrator does in virtual mode: follow decisions, scale, report, acknowledge."""

from __future__ import annotations

import asyncio

from connectors.virtual import VirtualConnectorClient
from planner.clock import Clock
from planner.demo.standin import StandIn


async def follow(client: VirtualConnectorClient, deployment: StandIn, clock: Clock, *, look_every_s: float) -> None:
    """Carry out every decision, for ever, and report the workers as they change.

    Args:
        client: Where decisions come from.
        deployment: What is scaled.
        clock: What the time is.
        look_every_s: How often to look at the workers, seconds on the clock.
    """
    reporting = asyncio.create_task(_report(client, deployment, clock, look_every_s))
    try:
        while True:
            decision = await client.wait()
            deployment.scale(decision.num_prefill_workers, decision.num_decode_workers)
            # Workers that start are reported as such: no need to keep the next decision until they serve.
            await client.complete(decision)
    finally:
        reporting.cancel()


async def _report(client: VirtualConnectorClient, deployment: StandIn, clock: Clock, look_every_s: float) -> None:
    reported = None
    while True:
        if (counts := deployment.workers()) != reported:
            await client.report_workers(prefill=counts[0], decode=counts[1])
            reported = counts
        await clock.sleep_until(clock.now() + look_every_s)
