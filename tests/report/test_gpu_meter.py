import pytest

from connectors.base import WorkerCounts
from planner.core.observation import Workers
from planner.report.gpu_hours import GpuMeter


def test_gpu_hours_are_the_area_under_the_workers():
    meter = GpuMeter((1, 4))
    meter.read(0.0, WorkerCounts(prefill=Workers(2), decode=Workers(1)))
    assert meter.gpu_hours == 0
    meter.read(1800.0, WorkerCounts(prefill=Workers(1, draining=1), decode=Workers(1, pending=1)))
    assert meter.gpu_hours == pytest.approx(6 * 0.5)
    assert meter.gpus == 2 + 8
    meter.read(3600.0, WorkerCounts())
    assert meter.gpu_hours == pytest.approx(3 + 10 * 0.5)


def test_a_pool_that_cannot_be_seen_is_as_it_was_last():
    meter = GpuMeter((1, 1))
    meter.read(0.0, WorkerCounts(prefill=Workers(2), decode=Workers(3)))
    meter.read(3600.0, WorkerCounts(decode=Workers(1)))
    meter.read(7200.0, WorkerCounts())
    assert meter.gpu_hours == pytest.approx(5 + 3)


def test_a_clock_that_steps_back_takes_nothing_away():
    meter = GpuMeter((1, 1))
    meter.read(3600.0, WorkerCounts(prefill=Workers(1)))
    meter.read(0.0, WorkerCounts(prefill=Workers(1)))
    assert meter.gpu_hours == 0
