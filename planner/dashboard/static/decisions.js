"use strict";
/* The time-line of decisions: each with its sentence, and everything it stands on when opened. */
class Decisions {
  static #PAGE = 25;
  static FILTERS = [["all", "All"], ["scale", "Changes"], ["attention", "Attention"]];

  constructor(page) {
    this.page = page;
    this.list = Dom.find("decisions");
    this.filter = "all";
    this.room = Decisions.#PAGE;
    this.rows = new Map();
    Dom.find("more").addEventListener("click", () => { this.room += 2 * Decisions.#PAGE; this.render(); });
    this.#buildFilters();
  }

  #buildFilters() {
    Dom.segments(Dom.find("filters"), Decisions.FILTERS, this.filter, (value) => {
      this.filter = value;
      this.room = Decisions.#PAGE;
      this.#buildFilters();
      this.render();
    });
  }

  /* Begin with another course. */
  use(course, clock) {
    this.course = course;
    this.clock = clock;
    this.rows.clear();
    this.room = Decisions.#PAGE;
  }

  /* Show the decisions up to the end of the window that is looked at, newest first. */
  render(view = this.view) {
    this.view = view;
    const wanted = this.course.records.filter((record) => this.#wanted(record));
    const inside = view ? wanted.filter((record) => record.decision.time >= view[0] && record.decision.time <= view[1]) : wanted;
    const shown = inside.slice(-this.room).reverse();
    const fresh = shown.map((record) => this.#row(record));
    if (fresh.length !== this.list.children.length || fresh.some((row, place) => this.list.children[place] !== row)) {
      const focus = document.activeElement;
      this.list.replaceChildren(...fresh);
      if (this.list.contains(focus)) focus.focus({ preventScroll: true });
    }
    if (!fresh.length) this.list.replaceChildren(Dom.make("li", { class: "nothing muted" }, this.filter === "all" ? "No decision in this time." : "No such decision in this time."));
    Dom.find("timeline-count").textContent = `${shown.length} of ${inside.length}`;
    Dom.find("more").hidden = shown.length >= inside.length;
  }

  #wanted(record) {
    if (this.filter === "scale") return record.decision.action === "scale";
    if (this.filter === "attention") return Decisions.needsAttention(record);
    return true;
  }

  static needsAttention(record) {
    const why = record.decision.explanation;
    const troubled = record.applied && (record.applied.overdue || !["applied", "unchanged", "skipped"].includes(record.applied.outcome));
    return why.warnings.length > 0 || POOLS.some((pool) => !why[pool].feasible || ["budget", "blind"].includes(why[pool].bound_by))
      || troubled || (record.decision.action === "scale" && !record.applied && !record.simulated);
  }

  /* Open a record's row, wherever it is, and bring it into view. */
  open(record) {
    const inside = this.course.records.filter((one) => this.#wanted(one) && (!this.view || (one.decision.time >= this.view[0] && one.decision.time <= this.view[1])));
    if (!inside.includes(record)) { this.filter = "all"; this.#buildFilters(); }
    const after = this.course.records.length - this.course.records.indexOf(record);
    this.room = Math.max(this.room, after + 5);
    this.render();
    const row = this.#row(record).firstChild;
    row.open = true;
    row.firstChild.focus({ preventScroll: true });
    row.scrollIntoView({ block: "center", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  }

  #row(record) {
    const key = Course.key(record);
    const known = this.rows.get(key);
    if (known?.record === record) return known.row;
    const { make } = Dom;
    const why = record.decision.explanation;
    const details = make("details", { "data-key": key, ontoggle: () => { if (details.open && details.children.length === 1) details.append(this.#inside(record)); } },
      make("summary", null,
        make("time", { datetime: this.clock === Format.clocks.wall ? new Date(record.decision.time * 1000).toISOString() : null, title: this.clock.full(record.decision.time) }, this.clock.time(record.decision.time)),
        this.#verb(record),
        make("span", { class: "targets" }, ...this.course.pools.map(([pool, label]) => this.#change(label, record.decision[pool], why[pool].previous))),
        make("span", { class: "reason" }, why.reason),
        Decisions.needsAttention(record) ? make("span", { class: "flag", title: "needs attention" }, "!", make("span", { class: "visually-hidden" }, "needs attention")) : null));
    const row = make("li", null, details);
    if (known) details.open = known.row.firstChild.open;
    this.rows.set(key, { record, row });
    return row;
  }

  #verb(record) {
    const { decision } = record;
    const { make } = Dom;
    const steps = POOLS.map((pool) => decision[pool] - (decision.explanation[pool].previous ?? decision[pool]));
    const [word, colour] = decision.action === "hold" ? ["Hold", "grey"]
      : steps.every((step) => step >= 0) ? [record.kind === "reaction" ? "React" : "Up", "blue"]
        : steps.every((step) => step <= 0) ? ["Down", "green"] : ["Shift", "violet"];
    return make("span", { class: "chip verb", "data-colour": colour }, word);
  }

  #change(label, target, previous) {
    const changed = previous !== null && previous !== target;
    return Dom.make("span", { class: changed ? "changed" : "" }, Dom.make("abbr", { title: label }, label[0]), changed ? ` ${previous} → ${target}` : ` ${target}`);
  }

  #inside(record) {
    const { make } = Dom;
    const { observation: seen, decision } = record;
    const why = decision.explanation;
    return make("div", { class: "inside" },
      make("p", { class: "sentence" }, why.reason),
      ...why.warnings.map((text) => make("p", { class: "warning" }, text)),
      make("div", { class: "blocks" },
        this.#block("Observed", this.#observed(seen)),
        ...this.#pools(record),
        make("div", null, this.#block("Expected next", this.#expected(why)), this.#block("Carried out", this.#outcome(record)))));
  }

  #block(title, pairs) {
    const { make } = Dom;
    return make("section", null, make("h3", null, title),
      make("dl", null, ...pairs.filter(([, value]) => value !== null).map(([name, value]) => make("div", null, make("dt", null, name), make("dd", null, value)))));
  }

  #observed(seen) {
    const rate = seen.requests_started === null ? null : seen.requests_started / seen.interval;
    return [
      ["Interval", Format.span(seen.interval)],
      ["Requests", Format.count(seen.requests_started)],
      ["Rate", rate === null ? Format.UNKNOWN : `${Format.number(rate)} req/s`],
      ["ISL", Format.count(seen.isl)],
      ["OSL", Format.count(seen.osl)],
      ["TTFT", Format.ms(seen.ttft_ms)],
      ["ITL", Format.ms(seen.itl_ms)],
      ["Duration", Format.known(seen.request_duration_s) ? `${Format.number(seen.request_duration_s)} s` : null],
      ["In flight", Format.known(seen.inflight) ? Format.count(seen.inflight) : null],
      ["Queued", Format.known(seen.queued) ? Format.count(seen.queued) : null],
    ];
  }

  #expected(why) {
    const load = why.forecast;
    if (!load) return [["Forecast", "none yet"]];
    const each = (value) => `${Format.number(value / load.interval)} req/s`;
    return [
      ["Rate", each(load.requests)],
      ["10 % to 90 %", `${Format.number(load.requests_p10 / load.interval)}–${each(load.requests_p90)}`],
      ["ISL", Format.count(load.isl)],
      ["OSL", Format.count(load.osl)],
      ["Sized for", why.sized_for ? `${Format.number(why.sized_for.requests / why.sized_for.interval)} req/s` : null],
    ];
  }

  /* A block for each pool; where one serves both phases, its workers and the two latencies apart. */
  #pools(record) {
    const why = record.decision.explanation;
    if (this.course.aggregated) {
      return [
        this.#block("Workers", this.#workers(record, "decode")),
        Dom.make("div", null, this.#block("TTFT", this.#latency(why.prefill)), this.#block("ITL", this.#latency(why.decode))),
      ];
    }
    return this.course.pools.map(([pool, label]) => this.#block(label, [...this.#workers(record, pool), ...this.#latency(why[pool])]));
  }

  #workers(record, pool) {
    const why = record.decision.explanation[pool];
    const workers = record.observation[pool];
    const bound = Course.bound(record, pool);
    return [
      ["Workers", workers ? [`${workers.ready} ready`, workers.pending ? `${workers.pending} starting` : "", workers.draining ? `${workers.draining} draining` : ""].filter(Boolean).join(", ") : Format.UNKNOWN],
      ["Before", Format.count(why.previous)],
      ["Required", Format.count(why.required)],
      ["Decided", Format.count(why.target)],
      ["Bound by", BOUNDS[bound]?.label ?? bound],
    ];
  }

  #latency(why) {
    return [
      ["Correction", Format.fixed(why.correction_factor, 2)],
      ["Expected", Format.ms(why.expected_ms)],
      ["Observed", Format.ms(why.observed_ms)],
      ["Target", Format.ms(why.target_ms)],
      ["Feasible", why.feasible ? null : "no"],
    ];
  }

  #outcome(record) {
    const { applied } = record;
    if (record.simulated) return [["Outcome", "simulated"]];
    return [
      ["Outcome", applied ? applied.outcome : record.decision.action === "hold" ? "nothing to do" : "not handed over"],
      ["Detail", applied?.detail || null],
      ["Overdue", applied?.overdue ? "an earlier decision was never acknowledged" : null],
      ["Took", Format.known(record.duration_s) ? `${Format.number(record.duration_s * 1000)} ms` : null],
    ];
  }
}
