"""A planner that is killed at any moment has written what anybody acted on."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

from planner.report.reader import HistoryReader

KILLS = 5


def test_a_planner_killed_again_and_again_loses_no_decision(history_file):
    moments = random.Random(7)
    handed_over = []
    for seed in range(KILLS):
        with subprocess.Popen(
            [sys.executable, "-m", "tests.report.killed_daemon", history_file, str(seed)],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            lines = [process.stdout.readline()]
            time.sleep(moments.uniform(0.0, 0.4))
            process.kill()
            lines += process.stdout.readlines()
        assert lines[0], "it ended by itself"
        handed_over += [tuple(json.loads(line)) for line in lines if line.endswith("\n")]

        reader = HistoryReader(history_file)
        kept = [(one.decision.time, one.decision.prefill, one.decision.decode) for one in reader.records()]
        assert set(handed_over) <= set(kept), "a decision that was handed over is not in the history"
        assert len(reader.runs()) == seed + 1
    assert len(handed_over) > 3 * KILLS
    assert not list(history_file.parent.glob("*.damaged-*"))
    numbers = [record.id for record in reader.records()]
    assert len(set(numbers)) == len(numbers)
    open_ended = [one for one in reader.records() if one.applied is None and one.decision.action == "scale"]
    assert len(open_ended) <= KILLS, "at most the last decision of each life is without an outcome"
