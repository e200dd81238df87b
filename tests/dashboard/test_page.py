"""The page in a real Chromium, against a running planner."""

import signal
import time

import pytest

from tests.dashboard.conftest import clock
from tests.dashboard.day import day_of_records


def number(value):
    """A number as the page shows it."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


@pytest.fixture(scope="module")
def axe():
    from axe_playwright_python.sync_playwright import Axe

    return Axe()


def hold_still(tab):
    """Let nothing more come in, so that the page can be compared with one record."""
    tab.page.evaluate("page.onRecords = () => {}; page.onState = () => {}")
    return tab.page.evaluate("page.course.latest")


def test_the_numbers_on_the_page_are_those_of_the_api(planner, open_tab):
    tab = open_tab(planner.url)
    shown_id = hold_still(tab)["id"]
    record = next(one for one in planner.decisions(limit=200) if one["id"] == shown_id)
    seen, decision = record["observation"], record["decision"]
    why = decision["explanation"]
    assert tab.text("#title") == "chat-production"
    assert tab.text("#now .reason") == why["reason"]
    for pool in ("prefill", "decode"):
        assert tab.text(f"[data-tile={pool}] strong") == str(seen[pool]["ready"])
        assert f"{decision[pool]} decided" in tab.text(f"[data-tile={pool}] .detail")
        assert f"{why[pool]['required']} required" in tab.text(f"[data-tile={pool}] .detail")
    assert tab.text("[data-tile=rate] strong") == number(seen["requests_started"] / seen["interval"])
    load = why["forecast"]
    low, mean, high = (number(load[name] / load["interval"]) for name in ("requests_p10", "requests", "requests_p90"))
    assert tab.text("[data-tile=rate] .detail") == f"next {mean} ({low}\N{EN DASH}{high})"
    assert tab.text("[data-tile=ttft] strong") == number(seen["ttft_ms"])
    assert tab.text("[data-tile=itl] strong") == number(seen["itl_ms"])
    assert tab.text("[data-tile=lengths] strong") == f"{seen['isl']:,.0f} / {seen['osl']:,.0f}"
    factors = [why[pool]["correction_factor"] for pool in ("prefill", "decode")]
    assert tab.text("[data-tile=correction] strong") == f"{factors[0]:.2f} / {factors[1]:.2f}"
    present = sum(sum(seen[pool].values()) for pool in ("prefill", "decode"))
    assert tab.text("[data-tile=gpus] .value") == f"{present}\nof 8", "those that start or drain use theirs too"
    assert tab.text("#health [data-source=Metrics] .word") == "healthy"
    assert "9 queries" in tab.text("#health [data-source=Metrics]")


def test_what_is_decided_shows_within_a_second(planner, open_tab):
    tab = open_tab(planner.url)
    delays = []
    for _ in range(2):
        before = planner.decisions(limit=1)[0]["id"]
        while (latest := planner.decisions(limit=1)[0])["id"] == before:
            time.sleep(0.01)
        known = time.monotonic()
        tab.wait("id => page.course.latest.id >= id", 20, latest["id"])
        delays.append(time.monotonic() - known)
        assert clock(tab.page.evaluate("page.course.latest.decision.time")) in tab.text("#now .muted")
    print(f"shown after the API had it: {', '.join(f'{delay * 1000:.0f} ms' for delay in delays)}")
    assert min(delays) < 1


def test_every_chart_is_drawn_and_shares_one_cursor(planner, open_tab, picture):
    tab = open_tab(planner.url)
    hold_still(tab)
    tab.page.get_by_role("button", name="24h").click()
    assert tab.page.evaluate("page.course.records.length") >= 1440
    charts = tab.page.locator("figure.chart:visible")
    assert charts.count() == 10
    picture(tab, "dashboard", full_page=False)
    tab.page.locator("[data-chart=rate] .u-over").hover()
    stamps = {stamp for stamp in tab.page.locator("figure.chart .stamp").all_inner_texts() if stamp}
    assert len(stamps) == 1, "all charts tell of the same moment"
    assert tab.text("[data-chart=rate] .legend").startswith("Observed")
    assert " 90 %" in tab.text("[data-chart=rate] .legend").replace("\N{EN DASH}", " ")
    assert "90 %" not in tab.text("[data-chart=isl] .legend"), "no forecast of lengths alone has a band"


def test_dragging_zooms_all_charts_and_back(planner, open_tab):
    tab = open_tab(planner.url)
    tab.page.get_by_role("button", name="24h").click()
    box = tab.page.locator("[data-chart=gpus] .u-over").bounding_box()
    tab.page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 40)
    tab.page.mouse.down()
    tab.page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 60, steps=4)
    tab.page.mouse.up()
    spans = tab.page.evaluate("page.charts.shown.map(({plot}) => plot.scales.x.max - plot.scales.x.min)")
    assert max(spans) - min(spans) < 1
    assert 0.15 * 86400 < spans[0] < 0.25 * 86400
    tab.page.get_by_role("button", name="Reset zoom").click()
    assert tab.page.evaluate("page.charts.shown[0].plot.scales.x.max - page.charts.shown[0].plot.scales.x.min") > 86000


def test_a_decision_opens_with_everything_it_stands_on(planner, open_tab, picture):
    tab = open_tab(planner.url)
    shown = hold_still(tab)
    row = tab.page.locator("#decisions details").first
    row.locator("summary").click()
    inside = row.locator(".inside")
    why = shown["decision"]["explanation"]
    text = inside.inner_text()
    for expected in (why["reason"], "Observed", "Expected next", "Prefill", "Decode", "Carried out", "Bound by"):
        assert expected in text
    assert number(shown["observation"]["ttft_ms"]) in text
    tab.page.locator(".timeline").scroll_into_view_if_needed()
    picture(tab, "dashboard-decision")
    tab.page.get_by_role("button", name="Changes").click()
    verbs = set(tab.page.locator("#decisions .verb").all_inner_texts())
    assert "Hold" not in verbs


def test_the_keyboard_reaches_everything(planner, open_tab):
    tab = open_tab(planner.url)
    hold_still(tab)
    keys = tab.page.keyboard
    keys.press("4")
    assert tab.page.get_by_role("button", name="24h").get_attribute("aria-pressed") == "true"
    assert tab.page.url.endswith("#range=24h"), "to come back to, and to pass on"
    tab.page.locator("#charts").focus()
    keys.press("ArrowLeft")
    keys.press("ArrowLeft")
    spoken = tab.text("#spoken")
    assert "requests per second" in spoken
    assert "prefill" in spoken
    before = tab.page.evaluate("page.view[1] - page.view[0]")
    keys.press("+")
    assert tab.page.evaluate("page.view[1] - page.view[0]") == pytest.approx(before / 2, rel=0.01)
    keys.press("Enter")
    assert tab.page.evaluate("document.activeElement.tagName") == "SUMMARY"
    assert tab.page.locator("#decisions details[open]").count() == 1
    keys.press("0")
    keys.press("?")
    assert tab.page.locator("#shortcuts").is_visible()
    keys.press("Escape")
    theme = tab.page.evaluate("document.documentElement.dataset.theme")
    keys.press("t")
    keys.press("t")
    assert tab.page.evaluate("document.documentElement.dataset.theme") != theme
    tab.page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    reached = set()
    for _ in range(60):
        keys.press("Tab")
        reached.add(tab.page.evaluate("document.activeElement.closest('[id]')?.id"))
    assert {"ranges", "theme", "help", "charts", "filters", "decisions"} <= reached


@pytest.mark.parametrize(("phone", "dark"), [(False, False), (True, True)])
def test_no_barrier_by_axe(planner, open_tab, axe, picture, dark, phone):
    tab = open_tab(planner.url, dark=dark, phone=phone)
    tab.page.get_by_role("button", name="24h").click()
    tab.page.locator("#decisions summary").first.click()
    results = axe.run(tab.page)
    assert results.violations_count == 0, results.generate_report()
    assert tab.overflow() <= 0
    tab.page.evaluate("scrollTo(0, 0)")
    picture(tab, f"dashboard-{'phone' if phone else 'desktop'}-{'dark' if dark else 'light'}")
    tab.page.emulate_media(color_scheme="light" if dark else "dark")
    picture(tab, f"dashboard-{'phone' if phone else 'desktop'}-{'light' if dark else 'dark'}")


def test_nothing_comes_from_elsewhere(planner, open_tab):
    tab = open_tab(f"{planner.url}#range=6h")
    assert tab.page.get_by_role("button", name="6h").get_attribute("aria-pressed") == "true"
    assert all(url.startswith((planner.url, "data:")) for url in tab.requests)


def test_before_the_first_decision_the_page_says_so(launch, open_tab, picture):
    daemon, frontend = launch("--adjustment-interval", "60", busy=True)
    tab = open_tab(daemon.url, wait="#notice:not([hidden])")
    assert tab.text("#notice h2") == "No adjustment yet"
    assert tab.text("#status") == "Live"
    assert tab.text("#title") == "chat-production"
    picture(tab, "dashboard-empty")
    frontend.answers.set()
    tab.page.wait_for_selector("#content:not([hidden])")
    assert tab.page.locator("#notice").is_hidden(), "it fills by itself"
    assert tab.page.locator("#decisions > li").count() == 1


def shown_records(tab):
    """What the page has, which must be in order and each once."""
    shown = tab.page.evaluate("page.course.records.map(({ kind, decision }) => [kind, decision.time])")
    assert shown == sorted(shown, key=lambda one: one[1])
    assert len({tuple(one) for one in shown}) == len(shown), "one is doubled"
    return shown


def wait_until_followed_again(tab, records):
    tab.wait("document.querySelector('#status').dataset.state === 'live'")
    tab.wait("count => page.course.records.length >= count + 3", argument=records)
    assert tab.text("#status") == "Live"
    assert "Disconnected." not in tab.text("#banners")


def test_a_lost_planner_is_told_and_found_again(launch, open_tab, picture, axe):
    past = list(day_of_records(time.time() - 20, 60))
    daemon, frontend = launch("--adjustment-interval", "1", past=past)
    tab = open_tab(daemon.url, complaints=True)
    frontend.stop_serving()
    tab.wait("document.querySelector('#banners')?.textContent.startsWith('Blind.')")
    assert "Data age" in tab.text("#health")
    assert tab.text("#health [data-source=Metrics] .word").endswith("failed")
    tab.wait("page.course.columns.blind.filter(Boolean).length > 2")
    picture(tab, "dashboard-blind")
    results = axe.run(tab.page)
    assert results.violations_count == 0, results.generate_report()
    daemon.end(signal.SIGKILL)
    tab.wait("document.querySelector('#status').dataset.state === 'lost'")
    assert tab.text("#banners").startswith("Disconnected.")
    assert tab.page.locator("#content").is_visible(), "what was known stays"
    picture(tab, "dashboard-disconnected")
    before = shown_records(tab)
    daemon.start()
    wait_until_followed_again(tab, len(before))
    shown = shown_records(tab)
    recorded = [[one["kind"], one["decision"]["time"]] for one in daemon.decisions()]
    assert shown == recorded[: len(shown)], "one is lost"


def test_a_planner_that_comes_back_without_a_history_is_followed_again(launch, open_tab):
    daemon, _ = launch("--adjustment-interval", "1", "--reaction-interval", "0", "--history-days", "0")
    tab = open_tab(daemon.url, complaints=True)
    tab.wait("page.course.records.length >= 3")
    daemon.end(signal.SIGKILL)
    tab.wait("document.querySelector('#status').dataset.state === 'lost'")
    before = shown_records(tab)
    daemon.start()
    tab.page.evaluate("dispatchEvent(new Event('online'))")
    wait_until_followed_again(tab, len(before))
    shown = shown_records(tab)
    assert shown[: len(before)] == before, "what was known stays"
    recorded = [[one["kind"], one["decision"]["time"]] for one in daemon.decisions()]
    assert shown[len(before) :] == recorded[: len(shown) - len(before)], "one is lost"


def test_an_aggregated_deployment_has_one_pool(launch, open_tab, axe, picture):
    past = list(day_of_records(time.time() - 20, 60, mode="agg"))
    daemon, _ = launch("--mode", "agg", "--adjustment-interval", "1", "--reaction-interval", "0", past=past)
    daemon.wait_for_load()
    tab = open_tab(daemon.url)
    latest = hold_still(tab)
    assert latest["decision"]["prefill"] == 0
    assert tab.page.locator("[data-tile=prefill]").count() == 0
    assert tab.text("[data-tile=decode] h2") == "Workers"
    assert tab.text("[data-tile=decode] strong") == str(latest["observation"]["decode"]["ready"])
    assert tab.text("[data-tile=backlog] strong") == "4"
    unseen = {"prefill": {"ready": 0, "pending": 0, "draining": 0}, "decode": None}
    assert tab.page.evaluate("seen => page.course.gpus(seen)", unseen) is None, "unknown is not zero"
    assert tab.page.locator(".tile").count() == 8
    charts = tab.page.locator("figure.chart:visible")
    titles = charts.locator("h3").all_inner_texts()
    assert titles[:3] == ["Request rate", "GPUs in use", "Workers"]
    assert not {"Prefill workers", "Decode workers"} & set(titles)
    assert len(titles) == 9
    assert "TTFT" in tab.text("[data-chart=correction] .legend")
    for text in (tab.text("#now"), tab.text("#decisions summary .targets"), tab.text("#tiles"), tab.text("#health")):
        assert "refill" not in text
    picture(tab, "dashboard-aggregated")
    tab.page.locator("#decisions summary").first.click()
    tab.page.wait_for_selector("#decisions .inside")
    assert tab.page.locator("#decisions .inside h3").all_inner_texts() == [
        *("Observed", "Workers", "TTFT", "ITL", "Expected next", "Carried out")
    ]
    assert axe.run(tab.page).violations_count == 0


def test_a_token_lets_in(launch, open_tab, picture, axe):
    daemon, _ = launch("--adjustment-interval", "1", "--dashboard-token", "correct horse")
    tab = open_tab(daemon.url, complaints=True, wait="#token")
    assert axe.run(tab.page).violations_count == 0
    picture(tab, "dashboard-token")
    tab.page.fill("#token", "wrong")
    tab.page.keyboard.press("Enter")
    tab.wait("document.querySelector('#token-problem')?.textContent.includes('not the planner')")
    tab.page.fill("#token", "correct horse")
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_selector("#content:not([hidden])")
    tab.page.reload()
    tab.page.wait_for_selector("#content:not([hidden])")
    linked = open_tab(f"{daemon.url}#token=correct%20horse", complaints=True)
    assert "correct" not in linked.page.url, "the token does not stay in the address"
