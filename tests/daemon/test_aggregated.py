"""The daemon on an aggregated deployment, with the virtual connector."""

import math

from connectors.virtual import VirtualConnector
from planner.core.observation import Workers


async def test_the_one_pool_is_decode_all_the_way(make_daemon, clock):
    """Decisions, what an orchestrator is told, and the metrics: no prefill workers, and nothing is unknown of them."""
    connector = VirtualConnector(now=clock.now)
    async with make_daemon([6000, 6000], rounds=9, connector=connector, mode="agg", sizing="slo") as daemon:
        record = await daemon.tick()
        assert (record.decision.prefill, record.decision.previous_prefill) == (0, 0)
        told = connector.store.state.decision
        assert (told.num_prefill_workers, told.num_decode_workers) == (0, record.decision.decode)
        assert told.num_decode_workers > 1
        await connector.store.update(lambda state: state.complete(told.decision_id))
        again = await daemon.tick()
        assert again.observation.prefill == Workers(0)
        assert again.observation.decode == Workers(told.num_decode_workers)
        value = daemon.metrics.registry.get_sample_value
        assert value("planner:num_p_workers") == 0
        assert value("planner:num_d_workers") == told.num_decode_workers
        assert not math.isnan(value("planner:gpu_hours"))
