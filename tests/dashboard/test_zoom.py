"""To look closer: by mouse, keyboard and touch, and what is fetched for it."""

import time
from dataclasses import replace

import pytest

from tests.dashboard.day import OPTIONS, day_of_records, write_history

SPAN = "page.view[1] - page.view[0]"


def span(tab):
    return tab.page.evaluate(SPAN)


def over(tab, chart="rate"):
    box = tab.page.locator(f"[data-chart={chart}] .u-over")
    box.scroll_into_view_if_needed()
    return box.bounding_box()


class Fingers:
    """Touches as the screen would report them."""

    def __init__(self, tab):
        self.session = tab.page.context.new_cdp_session(tab.page)

    def send(self, kind, *points):
        touches = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    def move(self, begin, end, steps=6):
        """From some points to as many others, one for each finger."""
        self.send("touchStart", *begin)
        for step in range(1, steps + 1):
            share = step / steps
            self.send(
                "touchMove",
                *(
                    (x + (there - x) * share, y + (down - y) * share)
                    for (x, y), (there, down) in zip(begin, end, strict=True)
                ),
            )
        self.send("touchEnd")


@pytest.fixture
def phone(planner, open_tab):
    tab = open_tab(planner.url, phone=True)
    tab.page.get_by_role("button", name="24h").click()
    return tab


def test_two_fingers_zoom_all_charts(phone):
    box = over(phone)
    y, left, width = box["y"] + 80, box["x"], box["width"]
    time_at = "share => page.view[0] + share * (page.view[1] - page.view[0])"
    before = phone.page.evaluate(time_at, 0.5)
    Fingers(phone).move(
        [(left + 0.4 * width, y), (left + 0.6 * width, y)], [(left + 0.1 * width, y), (left + 0.9 * width, y)]
    )
    phone.wait(f"{SPAN} < 86400 * 0.5")
    assert span(phone) == pytest.approx(86400 / 4, rel=0.1), "four times as far apart"
    assert phone.page.evaluate(time_at, 0.5) == pytest.approx(before, abs=1800), "what lay between them still does"
    spans = phone.page.evaluate("page.charts.shown.map(({plot}) => plot.scales.x.max - plot.scales.x.min)")
    assert max(spans) - min(spans) < 1
    Fingers(phone).move(
        [(left + 0.1 * width, y), (left + 0.9 * width, y)], [(left + 0.45 * width, y), (left + 0.55 * width, y)]
    )
    phone.wait("page.zoomed === null")


def test_one_finger_moves_along_and_through_time(phone):
    box = over(phone)
    y, left, width = box["y"] + 80, box["x"], box["width"]
    fingers = Fingers(phone)
    fingers.move([(left + 0.3 * width, y)], [(left + 0.7 * width, y)])
    phone.wait("page.cursor !== null")
    share = phone.page.evaluate("(page.cursor - page.view[0]) / (page.view[1] - page.view[0])")
    assert share == pytest.approx(0.7, abs=0.05), "the cursor is under the finger"
    assert phone.text("[data-chart=gpus] .stamp"), "of every chart"
    assert phone.page.evaluate("page.zoomed") is None
    phone.page.evaluate("page.zoom([page.view[0] + 30000, page.view[0] + 50000])")
    begin = phone.page.evaluate("page.view[0]")
    fingers.move([(left + 0.3 * width, y)], [(left + 0.8 * width, y)])
    phone.wait("begin => page.view[0] < begin - 5000", argument=begin)
    assert phone.page.evaluate("page.view[0]") == pytest.approx(begin - 10_000, abs=1500)
    assert span(phone) == pytest.approx(20_000)


def test_a_finger_still_scrolls_up_and_down(phone):
    box = over(phone)
    before = phone.page.evaluate("scrollY")
    x, y = box["x"] + box["width"] / 2, box["y"] + 120
    Fingers(phone).move([(x, y)], [(x, y - 300)], steps=12)
    phone.wait("before => scrollY > before + 100", argument=before)


def test_a_tap_shows_and_a_second_one_opens(phone):
    box = over(phone)
    x, y = box["x"] + box["width"] * 0.4, box["y"] + 80
    phone.page.touchscreen.tap(x, y)
    phone.wait("page.cursor !== null")
    assert phone.page.locator("#decisions details[open]").count() == 0
    phone.page.touchscreen.tap(x, y)
    phone.page.wait_for_selector("#decisions details[open]")


@pytest.fixture(scope="module")
def week(tmp_path_factory):
    """Some hours of an adjustment a minute, days ago, of which few are fetched where they are seen from afar."""
    (one,) = day_of_records(0.0, 1)
    folder = tmp_path_factory.mktemp("week")
    begin = time.time() - 4 * 86400
    times = [begin + 60 * number for number in range(600)]
    write_history(folder / OPTIONS["namespace"] / "history.sqlite", (moved(one, moment) for moment in times))
    return folder, times


def moved(record, moment):
    return replace(
        record,
        observation=replace(record.observation, time=moment),
        decision=replace(record.decision, time=moment),
        applied=None,
    )


def test_a_close_look_into_a_week_shows_every_record(week, start, open_tab):
    folder, times = week
    daemon = start(folder, "--adjustment-interval", "60")
    tab = open_tab(daemon.url)
    tab.page.get_by_role("button", name="7d").click()
    tab.wait(f"{SPAN} > 3.9 * 86400")
    begin, end = times[100], times[500]
    inside = "([begin, end]) => page.course.records.filter(({ decision: { time } }) => time >= begin && time <= end)"
    thinned = tab.page.evaluate(f"span => ({inside})(span).length", [begin, end])
    assert 0 < thinned < 200
    box = over(tab)
    first, last = (
        tab.page.evaluate("time => page.charts.shown[0].plot.valToPos(time, 'x')", moment) for moment in (begin, end)
    )
    tab.page.mouse.move(box["x"] + first - 3, box["y"] + 40)
    tab.page.mouse.down()
    tab.page.mouse.move(box["x"] + last + 3, box["y"] + 60, steps=4)
    tab.page.mouse.up()
    tab.wait(f"span => ({inside})(span).length >= 401", argument=[begin, end])
    shown = tab.page.evaluate(f"span => ({inside})(span).map(({{ decision }}) => decision.time)", [begin, end])
    assert shown == times[100:501]
    requests = len(tab.requests)
    tab.page.locator("#charts").focus()
    tab.page.keyboard.press("+")
    tab.page.wait_for_timeout(400)
    assert len(tab.requests) == requests, "what is here is not fetched again"
    tab.page.keyboard.press("0")
    tab.wait(f"{SPAN} > 3.9 * 86400")
