"""A day of history, a real planner that goes on from there, and a real Chromium that looks at it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from planner.report.reader import HistoryReader
from tests.dashboard.day import OPTIONS, RECORDS, day_of_records, write_history
from tests.dashboard.running import Daemon, Frontend

CHROMIUM_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="session")
def history(tmp_path_factory):
    """A day that ended some minutes ago, in the folder of a planner's state; made once for all processes of tests."""
    folder = tmp_path_factory.mktemp("state")
    kept = folder / OPTIONS["namespace"] / "history.sqlite"
    alone = "PYTEST_XDIST_WORKER" not in os.environ
    made = (folder if alone else folder.parent.parent) / "dashboard-day.sqlite"
    with made.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            write_history(made, day_of_records(time.time() - 120))
    kept.parent.mkdir()
    shutil.copy(made, kept)
    return folder


@pytest.fixture(scope="session")
def day(history):
    """The records of that day."""
    return HistoryReader(history / OPTIONS["namespace"] / "history.sqlite").records(limit=RECORDS)


@pytest.fixture(scope="session")
def planner(history, day, require_binary):
    """A planner with a day behind it, deciding every second."""
    require_binary("chromium")
    with contextlib.ExitStack() as started:
        frontend = Frontend()
        started.callback(frontend.close)
        daemon = Daemon(history, frontend.url, "--adjustment-interval", "1", "--reaction-interval", "0")
        started.callback(daemon.stop)
        daemon.wait_for_load()
        yield daemon


@pytest.fixture
def start(chromium):
    """Starts planners of a test's own on a folder: ``daemon = start(folder, "--adjustment-interval", "1")``."""
    with contextlib.ExitStack() as started:

        def begin(folder, *options):
            frontend = Frontend()
            started.callback(frontend.close)
            daemon = Daemon(folder, frontend.url, *options)
            started.callback(daemon.stop)
            return daemon

        yield begin


@pytest.fixture
def launch(tmp_path, chromium):
    """Starts planners of a test's own: ``daemon, frontend = launch("--adjustment-interval", "1")``.

    ``past`` are records that it has behind it, and ``busy`` is how long its frontend takes to answer at first.
    """
    with contextlib.ExitStack() as started:

        def start(*options, past=(), busy=False):
            folder = tmp_path / str(time.monotonic_ns())
            folder.mkdir()
            if past:
                mode = "agg" if "agg" in options else "disagg"
                write_history(folder / OPTIONS["namespace"] / "history.sqlite", past, mode=mode)
            frontend = Frontend(busy=busy)
            started.callback(frontend.close)
            daemon = Daemon(folder, frontend.url, *options)
            started.callback(daemon.stop)
            return daemon, frontend

        yield start


@pytest.fixture(scope="module")
def chromium(require_binary):
    """Debian's Chromium, driven by Playwright, with an empty profile.

    Not for the session: Playwright keeps an event loop running in this thread, which tests that are coroutines need.
    """
    from playwright.sync_api import sync_playwright

    binary = require_binary("chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=binary, headless=True, args=list(CHROMIUM_FLAGS))
        yield browser
        browser.close()


@dataclass
class Tab:
    """A page and what went wrong in it."""

    page: object
    errors: list[str]
    requests: list[str]

    def text(self, selector):
        return self.page.locator(selector).first.inner_text()

    def wait(self, expression, seconds=30.0, argument=None):
        """Wait until an expression, or a function of the argument, holds."""
        function = expression if "=>" in expression else f"() => ({expression})"
        return self.page.wait_for_function(function, arg=argument, timeout=seconds * 1000)

    def overflow(self):
        """Pixels that lie beside the screen."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


@pytest.fixture
def open_tab(chromium):
    """Opens pages: ``open_tab(url, dark=True, phone=True)``; none may complain in its console."""
    with contextlib.ExitStack() as opened:
        tabs = []

        def open_(url, *, dark=False, phone=False, complaints=False, wait="#content:not([hidden])"):
            context = chromium.new_context(
                viewport={"width": 390, "height": 844} if phone else {"width": 1440, "height": 900},
                device_scale_factor=2 if phone else 1,
                has_touch=phone,
                color_scheme="dark" if dark else "light",
                timezone_id="UTC",
                reduced_motion="reduce",
            )
            opened.callback(context.close)
            page = context.new_page()
            tab = Tab(page, [], [])
            page.on("console", lambda message: tab.errors.append(message.text) if message.type in _LOUD else None)
            page.on("pageerror", lambda error: tab.errors.append(str(error)))
            page.on("request", lambda request: tab.requests.append(request.url))
            if not complaints:
                tabs.append(tab)
            page.goto(url)
            page.wait_for_selector(wait, timeout=30_000)
            return tab

        yield open_
        for tab in tabs:
            assert tab.errors == []


_LOUD = ("error", "warning")


@pytest.fixture(scope="session")
def picture():
    """Keeps pictures of the page in docs/images where PLANNER_PICTURES is set: ``picture(tab, name)``."""
    folder = Path(__file__).parents[2] / "docs" / "images"

    def keep(tab, name, **options):
        shot = tab.page.screenshot(**options)
        assert len(shot) > 10_000, "an empty picture"
        if os.environ.get("PLANNER_PICTURES"):
            from io import BytesIO

            from PIL import Image

            image = Image.open(BytesIO(shot)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
            image.save(folder / f"{name}.png", optimize=True)

    return keep


def clock(moment):
    """A time as the page shows it."""
    return datetime.fromtimestamp(moment, UTC).strftime("%H:%M:%S")


def as_json(record):
    return json.loads(json.dumps(record.to_dict()))
