"use strict";
/* The page: what is shown, over which time, of which run. */
class Page {
  static #RANGES = [["900", "15m"], ["3600", "1h"], ["21600", "6h"], ["86400", "24h"], ["604800", "7d"]];
  static #DAY_S = 86400;
  static #PAUSE_MS = 150;

  constructor() {
    this.status = ["connecting", null];
    this.range = Page.#rangeGiven() ?? 3600;
    this.span = Math.max(Page.#DAY_S, this.range);
    this.zoomed = null;
    this.cursor = null;
    this.coverage = new Coverage();
    this.charts = new Charts(Dom.find("charts"), this);
    this.decisions = new Decisions(this);
    Dom.find("reset").addEventListener("click", () => this.resetZoom());
    Dom.find("theme").addEventListener("click", Theme.next);
    Dom.find("help").addEventListener("click", () => Dom.find("shortcuts").showModal());
    Theme.onChange(() => this.#restyle());
    document.addEventListener("keydown", (event) => this.#key(event));
    this.#labelTheme();
  }

  /* The address keeps the time shown, for reloads, bookmarks and links: #range=24h. */
  static #rangeGiven() {
    const given = new URLSearchParams(location.hash.slice(1)).get("range");
    const found = Page.#RANGES.find(([, label]) => label === given);
    return found ? Number(found[0]) : null;
  }

  #keepRange() {
    const label = Page.#RANGES.find(([seconds]) => Number(seconds) === this.range)?.[1];
    if (label) history.replaceState(null, "", `#range=${label}`);
  }

  async start() {
    const recording = await Recording.embedded();
    if (recording) return this.#replay(recording);
    this.clock = Format.clocks.wall;
    this.ranges = Page.#RANGES;
    this.#buildRanges();
    setInterval(() => this.#tick(), 1000);
    this.feed = new LiveFeed(this);
    return this.feed.run();
  }

  /* A recorded run: all of it at once, and no state of the moment. */
  #replay(recording) {
    this.recording = recording;
    this.clock = Format.clocks[recording.clock];
    this.ranges = [["all", "All"], ...Page.#RANGES];
    this.range = "all";
    this.#name(recording.title, recording.subtitle);
    Dom.find("foot").textContent = recording.note || "";
    this.onStatus("recorded");
    this.courses = recording.runs.map((run) => {
      const course = new Course(run.planner);
      course.add(run.records);
      return course;
    });
    this.#buildRuns(0);
    this.#choose(0);
  }

  #choose(place) {
    this.#buildRuns(place);
    this.course = this.courses[place];
    this.zoomed = null;
    this.#fresh = true;
    if (!this.course.records.length) return this.#notice("Nothing recorded", "This run has no adjustments.");
    const [from, to] = this.course.span;
    this.ranges = [["all", "All"], ...Page.#RANGES.filter(([seconds]) => Number(seconds) < to - from)];
    if (!this.ranges.some(([value]) => value === String(this.range))) this.range = "all";
    this.#buildRanges();
    this.#render();
  }

  #buildRuns(chosen) {
    const { make } = Dom;
    const { runs, scores } = this.recording;
    const parent = Dom.find("runs");
    parent.hidden = !scores && runs.length < 2;
    if (parent.hidden) return;
    const head = scores ? make("tr", null, make("th", { scope: "col" }, "Run"), ...scores.columns.map((label) => make("th", { scope: "col" }, label))) : null;
    const rows = runs.map((run, place) => make("tr", { class: place === chosen ? "chosen" : "" },
      make("th", { scope: "row" }, make("button", { type: "button", "aria-pressed": String(place === chosen), onclick: () => { this.#choose(place); parent.querySelectorAll("button")[place].focus(); } }, run.name)),
      ...(scores ? scores.rows[place].map((cell) => make("td", null, cell)) : [])));
    const table = make("table", null, head ? make("thead", null, head) : null, make("tbody", null, ...rows));
    parent.replaceChildren(make("div", { class: "card scroll", tabindex: "0", role: "region", "aria-label": "Scores" }, table));
  }

  #name(title, subtitle) {
    Dom.find("title").textContent = title;
    Dom.find("subtitle").textContent = subtitle;
    document.title = `${title} · SLA planner`;
  }

  #buildRanges() {
    Dom.segments(Dom.find("ranges"), this.ranges.map(([value, label]) => [value, label, `Show ${label === "All" ? "all" : `the last ${label}`}`]), String(this.range), (value) => this.#choosePeriod(value));
  }

  async #choosePeriod(value) {
    this.range = value === "all" ? value : Number(value);
    this.zoomed = null;
    this.#buildRanges();
    if (this.feed) this.#keepRange();
    if (this.feed && this.range > this.span) await this.#reach(this.range);
    if (this.course?.records.length) this.#render();
  }

  /* Fetch what lies further back than what is here. */
  async #reach(span) {
    if (await this.#fetch(this.now - span, this.now - this.span)) this.span = span;
  }

  /* Of a long time only what matters was fetched; of what is looked at closely the rest is fetched, too. */
  #sharpen([from, to]) {
    clearTimeout(this.sharpening);
    if (!this.feed || this.status[0] === "lost") return;
    const wanted = [from - (to - from) / 2, Math.min(to + (to - from) / 2, this.now)];
    if (this.coverage.covers(from, Math.min(to, this.now), LiveFeed.step(wanted[1] - wanted[0], this.course.planner.interval_s))) return;
    this.sharpening = setTimeout(async () => {
      if (await this.#fetch(...wanted)) this.#render();
    }, Page.#PAUSE_MS);
  }

  async #fetch(from, to) {
    const step = LiveFeed.step(to - from, this.course.planner.interval_s);
    try {
      const records = await this.feed.records(from, to, step);
      this.coverage.add(from, to, step);
      this.course.add(records);
      this.fetchFailed = null;
    } catch (error) {
      this.fetchFailed = `What was recorded then could not be fetched: ${error.message}`;
    }
    this.#banners();
    return !this.fetchFailed;
  }

  /* --- what the feed tells --- */

  onState(state) {
    this.state = state;
    this.received = performance.now();
    if (!this.course) this.course = new Course(state.planner);
    const renamed = JSON.stringify(this.course.planner) !== JSON.stringify(state.planner);
    this.course.planner = state.planner;
    this.#name(state.planner.namespace, [state.planner.model, state.planner.environment, `every ${Format.span(state.planner.interval_s)}`].filter(Boolean).join(" · "));
    Dom.find("foot").textContent = `SLA planner ${state.planner.version} · targets TTFT ${Format.ms(state.planner.ttft_ms)}, ITL ${Format.ms(state.planner.itl_ms)}`;
    if (renamed && this.course.records.length) this.onRecords([]);
    else if (this.course.records.length) this.#renderHealth();
  }

  /* All that was decided after it comes by itself. */
  onFetched(since, until, step) {
    if (step) this.coverage.clear();
    this.coverage.add(since, until, step);
    this.coverage.add(until, Infinity, 0);
  }

  onRecords(records) {
    this.course.add(records);
    this.#render();
  }

  onStatus(name, detail = null) {
    const [before] = this.status;
    this.status = [name, detail];
    if (name === before && name !== "denied" && name !== "lost") return;
    const words = { connecting: "Connecting", live: "Live", lost: "Disconnected", denied: "Signed out", recorded: "Recorded" };
    const shown = Dom.find("status");
    shown.dataset.state = name;
    shown.lastElementChild.textContent = words[name];
    document.body.dataset.state = name;
    this.#banners();
    if (!this.course?.records.length) this.#waiting();
  }

  /* --- what is shown --- */

  get now() {
    if (this.recording) return this.course.latest.decision.time;
    return this.state.now + (performance.now() - this.received) / 1000;
  }

  get view() {
    if (this.zoomed) return this.zoomed;
    const columns = this.course.columns;
    const [first, last] = [columns.time[0], columns.time.at(-1)];
    const interval = this.course.planner.interval_s || 60;
    if (this.range === "all") return [first - (first === last ? interval : 0), Math.max(last, first + interval)];
    const end = this.recording ? last : Math.max(last, this.now);
    const begin = end - this.range;
    /* A planner that is young fills the chart with what there is. */
    return [Math.max(begin, Math.min(first, end - Math.min(this.range, 10 * interval))), end];
  }

  #fresh = true;

  #render() {
    if (!this.course.records.length) return this.#waiting();
    Dom.find("skeleton").hidden = true;
    Dom.find("notice").hidden = true;
    Dom.find("content").hidden = false;
    const view = this.view;
    if (this.#fresh || this.charts.built !== this.course || this.#optionalChanged()) {
      this.charts.build(this.course, this.clock, view);
      this.decisions.use(this.course, this.clock);
      this.#fresh = false;
    } else {
      this.charts.update(view);
    }
    if (this.cursor !== null) this.charts.point(this.cursor); else for (const chart of this.charts.shown) if (!chart.plot.root.matches(":hover")) chart.show(null);
    this.decisions.render(view);
    Tiles.render(Dom.find("tiles"), this.course, this.state);
    this.#renderNow();
    this.#renderWindow(view);
    this.#sharpen(view);
    this.#renderHealth();
    this.#banners();
    if (!performance.getEntriesByName("shown").length) {
      performance.mark("shown");
      requestAnimationFrame(() => setTimeout(() => performance.mark("drawn")));
    }
    return undefined;
  }

  /* Whether a chart has to be made anew because a series or the chart itself came or went. */
  #optionalChanged() {
    const has = (series) => this.course.columns[series.column].some(Format.known);
    const mark = CHARTS.map((spec) => spec.series.map((series) => Number(has(series))).join("")).join("|");
    const changed = this.mark !== undefined && mark !== this.mark;
    this.mark = mark;
    return changed;
  }

  #renderNow() {
    const { make } = Dom;
    const record = this.course.latest;
    const { decision } = record;
    const why = decision.explanation;
    const bad = [...new Set(why.warnings)];
    Dom.find("now").replaceChildren(make("div", { class: "card last", "data-action": decision.action },
      make("span", { class: "chip verb", "data-colour": decision.action === "scale" ? "blue" : "grey" }, decision.action === "scale" ? "Scale" : "Hold"),
      make("div", { class: "what" },
        make("p", { class: "reason" }, why.reason),
        make("p", { class: "muted" }, `${this.recording ? "last decision" : this.#ago(decision.time)}, at ${this.clock.time(decision.time)} · ${this.course.targets(decision)}`),
        ...bad.map((text) => make("p", { class: "warning" }, text)))));
  }

  #ago(time) {
    return `${Format.span(this.now - time)} ago`;
  }

  #renderWindow(view) {
    const [from, to] = view;
    const sameDay = this.clock.day(from) === this.clock.day(to);
    Dom.find("window").textContent = `${this.clock.full(from)} – ${sameDay ? this.clock.time(to) : this.clock.full(to)}`;
    Dom.find("reset").hidden = !this.zoomed;
  }

  #renderHealth() {
    Health.render(Dom.find("health"), this.course, this.state, this.course.planner, this.now);
  }

  #tick() {
    if (!this.state) return;
    if (!this.course.records.length) return this.#waiting();
    const line = Dom.find("now").querySelector(".muted");
    const { decision } = this.course.latest;
    if (line) line.textContent = `${this.#ago(decision.time)}, at ${this.clock.time(decision.time)} · ${this.course.targets(decision)}`;
    this.#renderHealth();
    if (this.status[0] === "lost") this.#banners();
    return undefined;
  }

  /* What needs to be known before anything else. */
  #banners() {
    const { make } = Dom;
    const banner = (tone, title, text) => make("p", { class: "banner", "data-tone": tone }, make("strong", null, title), ` ${text}`);
    const shown = [];
    const [status, detail] = this.status;
    if (status === "lost" && this.course?.records.length) {
      shown.push(banner("near", "Disconnected.", `Shown is what was known at ${this.clock.time(this.state.now)}. ${detail ? `${detail}. ` : ""}Trying again …`));
    }
    if (this.fetchFailed) shown.push(banner("near", "Incomplete.", this.fetchFailed));
    const state = this.state;
    if (state && status !== "lost") {
      if (state.trouble) shown.push(banner("bad", "The planner is stuck:", state.trouble));
      const record = this.course?.latestAdjustment;
      if (record && record.observation.requests_started === null) {
        const why = Object.entries(state.source.errors).map(([field, text]) => (text.startsWith(field) ? text : `${field}: ${text}`))[0];
        shown.push(banner("bad", "Blind.", `The load cannot be seen; the last decision stands. ${why || ""}`));
      }
      if (!state.leading) shown.push(banner("info", "Not acting.", "Another planner leads, or this one only watches; its decisions are shown all the same."));
    }
    const parent = Dom.find("banners");
    const text = shown.map((one) => one.textContent).join("");
    if (parent.textContent !== text) parent.replaceChildren(...shown);
  }

  /* Nothing to draw yet: say why. */
  #waiting() {
    const [status, detail] = this.status;
    if (status === "denied") return this.#signIn(detail);
    if (status === "lost") return this.#notice("The planner cannot be reached", detail || "Nobody answers at this address. The page tries again by itself.", "bad");
    if (!this.state) return undefined;
    const due = this.state.due === null ? null : this.state.due - this.now;
    const when = due === null ? " It is starting." : due > 0.5 ? ` The first is due in ${Format.span(due)}.` : " The first is being made.";
    this.#notice("No adjustment yet", `The planner runs and decides every ${Format.span(this.state.planner.interval_s)}.${when} This page fills by itself.`);
    return undefined;
  }

  #notice(title, text, tone = "info") {
    const key = `${title}\n${text}`;
    const notice = Dom.find("notice");
    if (notice.dataset.key !== key) {
      notice.dataset.key = key;
      notice.dataset.tone = tone;
      notice.replaceChildren(document.querySelector(".brand .mark").cloneNode(true), Dom.make("h2", null, title), Dom.make("p", null, text));
    }
    this.#only("notice");
  }

  #signIn(problem) {
    const { make } = Dom;
    const field = make("input", { type: "password", id: "token", autocomplete: "current-password", required: true, "aria-describedby": "token-problem" });
    const notice = Dom.find("notice");
    delete notice.dataset.key;
    notice.dataset.tone = "info";
    notice.replaceChildren(
      document.querySelector(".brand .mark").cloneNode(true),
      make("h2", null, "Sign in"),
      make("p", null, "This planner shows itself to who has its token, the one of ", make("code", null, "--dashboard-token-file"), "."),
      make("form", { onsubmit: (event) => { event.preventDefault(); if (field.value.trim()) this.feed.signIn(field.value.trim()); } },
        make("label", { for: "token" }, "Token"), field,
        make("button", { class: "primary" }, "Open"),
        make("p", { id: "token-problem", class: "problem", role: "alert" }, problem || "")));
    this.#only("notice");
    field.focus();
  }

  #only(id) {
    for (const name of ["skeleton", "notice", "content"]) Dom.find(name).hidden = name !== id;
    this.#fresh = true;
  }

  #labelTheme() {
    const button = Dom.find("theme");
    const label = `Theme: ${Theme.choice}`;
    button.textContent = { auto: "◐", light: "☀", dark: "☾" }[Theme.choice];
    button.setAttribute("aria-label", label);
    button.title = `${label} (t)`;
  }

  #restyle() {
    this.#labelTheme();
    this.#fresh = true;
    if (this.course?.records.length) this.#render();
  }

  /* --- moving about --- */

  /* Show a stretch of time, as far as there is one. */
  zoom([from, to]) {
    const { time } = this.course.columns;
    const [first, last] = [time[0], Math.max(time.at(-1), this.now)];
    const span = Math.max(to - from, 2 * (this.course.planner.interval_s || 60));
    if (span >= last - first) return this.resetZoom();
    const begin = Math.min(Math.max((from + to - span) / 2, first), last - span);
    this.zoomed = [begin, begin + span];
    return this.#render();
  }

  /* Move the cursor of all charts. */
  point(time) {
    this.cursor = time;
    this.charts.point(time);
  }

  resetZoom() {
    if (!this.zoomed) return;
    this.zoomed = null;
    this.#render();
  }

  openAt(time) {
    this.decisions.open(this.course.at(time));
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || Dom.find("shortcuts").open || event.target.matches("input, textarea, select")) return;
    const range = this.ranges?.[Number(event.key) - 1];
    const inCharts = Dom.find("charts").contains(event.target);
    const moves = { ArrowLeft: () => this.#move(-1), ArrowRight: () => this.#move(1), Enter: () => this.cursor !== null && this.openAt(this.cursor), Escape: () => { this.cursor = null; this.charts.point(null); } };
    if (range) this.#choosePeriod(range[0]);
    else if (event.key === "t") Theme.next();
    else if (event.key === "?") Dom.find("shortcuts").showModal();
    else if (!this.course?.records.length) return;
    else if (event.key === "0") this.resetZoom();
    else if (event.key === "+" || event.key === "=") this.#zoomBy(0.5);
    else if (event.key === "-" || event.key === "−") this.#zoomBy(2);
    else if (inCharts && moves[event.key]) moves[event.key]();
    else return;
    event.preventDefault();
  }

  #zoomBy(factor) {
    const [from, to] = this.view;
    const middle = this.cursor !== null && this.cursor > from && this.cursor < to ? this.cursor : (from + to) / 2;
    const half = (to - from) / 2 * factor;
    const [first, last] = [this.course.columns.time[0], this.course.columns.time.at(-1)];
    if (factor > 1 && 2 * half >= last - first) return this.resetZoom();
    return this.zoom([middle - half, middle + half]);
  }

  /* Move the cursor of all charts by a record, and say what is there. */
  #move(step) {
    const { records } = this.course;
    const here = this.cursor === null ? records.length - (step < 0 ? 0 : 1) : this.course.index(this.cursor);
    const record = records[Math.min(Math.max(here + step, 0), records.length - 1)];
    this.cursor = record.decision.time;
    const [from, to] = this.view;
    if (this.cursor < from || this.cursor > to) {
      const half = (to - from) / 2;
      this.zoom([this.cursor - half, this.cursor + half]);
    }
    this.charts.point(this.cursor);
    const { observation: seen, decision } = record;
    const rate = seen.requests_started === null ? "unknown" : `${Format.number(seen.requests_started / seen.interval)} requests per second`;
    Dom.find("spoken").textContent = `${this.clock.time(this.cursor)}: ${rate}, ${this.course.targets(decision)}. ${decision.explanation.reason}`;
  }
}

/* Within reach of a console, and of tests. */
var page = new Page();
page.start();
