"""How long a day takes to be seen: from the request for the dashboard to the drawn charts, in Chromium.

    python benchmarks/dashboard.py

A planner runs as a process of its own with 24 h of records behind it, one adjustment a minute. The page is opened on
its view of 24 h, with nothing in the browser's cache and then once more with everything there; then another view and
the day again are asked for. Chromium draws in software here, as it does without a screen.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, Page, sync_playwright
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.dashboard.day import OPTIONS, day_of_records, write_history
from tests.dashboard.running import Daemon, Frontend

_GOAL_MS = 1000.0
_DRAWN = "performance.getEntriesByName('drawn')[0]?.startTime"
_CHOOSE = """label => new Promise((done) => {
  const begin = performance.now();
  const button = [...document.querySelectorAll("#ranges button")].find((one) => one.textContent === label);
  button.click();
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - begin)));
})"""


@contextlib.contextmanager
def planner(records: int) -> Iterator[Daemon]:
    """A planner with so many records behind it."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as started:
        past = day_of_records(time.time() - 60, records)
        write_history(Path(folder) / str(OPTIONS["namespace"]) / "history.sqlite", past)
        frontend = Frontend()
        started.callback(frontend.close)
        daemon = Daemon(Path(folder), frontend.url, "--adjustment-interval", "60")
        started.callback(daemon.stop)
        yield daemon


def drawn_ms(page: Page) -> float:
    """Time from the request for the page to its drawn charts."""
    page.wait_for_function(f"() => {_DRAWN}")
    return float(page.evaluate(_DRAWN))


def measure(browser: Browser, url: str, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of every round, by what was measured."""
    found: dict[str, list[float]] = {"opened, cache empty": [], "opened again": [], "24 h chosen after 1 h": []}
    for _ in range(rounds):
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        page = context.new_page()
        page.goto(f"{url}#range=24h")
        found["opened, cache empty"].append(drawn_ms(page))
        page.reload()
        found["opened again"].append(drawn_ms(page))
        page.evaluate(_CHOOSE, "1h")
        found["24 h chosen after 1 h"].append(float(page.evaluate(_CHOOSE, "24h")))
        context.close()
    return found


def answer_of(url: str) -> tuple[int, int, float]:
    """Records of a day, bytes on the wire, and the time the API takes for them, ms."""
    begin = time.perf_counter()
    with httpx.stream("GET", f"{url}api/v1/decisions", params={"since": time.time() - 86_400}) as response:
        raw = b"".join(response.iter_raw())
        took = (time.perf_counter() - begin) * 1000
    count = len(httpx.get(f"{url}api/v1/decisions", params={"since": time.time() - 86_400}).json()["decisions"])
    return count, len(raw), took


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="Times the page is opened. (default: 20)")
    parser.add_argument("--records", type=int, default=1440, help="Records behind the planner. (default: 1440)")
    arguments = parser.parse_args()
    binary = shutil.which("chromium")
    if binary is None:
        parser.error("no chromium; tests/install-servers.sh installs it")
    table = Table("figure", "median", "worst", "goal", title="A day on the dashboard")
    launch: dict[str, Any] = {"executable_path": binary, "args": ["--no-sandbox", "--disable-gpu"]}
    with planner(arguments.records) as daemon, sync_playwright() as driver:
        browser = driver.chromium.launch(**launch)
        for name, times in measure(browser, daemon.url, arguments.rounds).items():
            table.add_row(name, f"{statistics.median(times):.0f} ms", f"{max(times):.0f} ms", f"{_GOAL_MS:.0f} ms")
        browser.close()
        count, size, took = answer_of(daemon.url)
        table.add_row(f"the API's answer: {count} records, {size / 1024:.0f} KiB", f"{took:.0f} ms", "", "")
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    main()
