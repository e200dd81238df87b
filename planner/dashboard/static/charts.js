"use strict";
/* The charts: one cursor, one window of time for all of them. */
const BOUNDS = {
  load: { label: "load", colour: null },
  minimum: { label: "minimum", colour: "violet" },
  budget: { label: "budget", colour: "red" },
  patience: { label: "patience", colour: "amber" },
  pending: { label: "pending", colour: "blue" },
  idle: { label: "idle", colour: "grey" },
  blind: { label: "blind", colour: "grey" },
};

const CHARTS = (() => {
  const line = (column, label, colour, more) => ({ column, label, colour, ...more });
  const foreseen = (id) => [
    line(`${id}Predicted`, "Predicted", "orange", { dash: [5, 4] }),
    line(id, "Observed", "blue", { width: 2 }),
  ];
  const rate = {
    id: "rate", title: "Request rate", unit: "req/s",
    series: [
      { column: "rateHigh", colour: "orange", edge: true },
      { column: "rateLow", colour: "orange", edge: true },
      ...foreseen("rate"),
    ],
    band: [1, 2], bandLabel: "10–90 %",
  };
  /* Lengths have no band of their own: what is uncertain is how many tokens all requests bring. */
  const length = (id, title) => ({ id, title, unit: "tokens", series: foreseen(id) });
  const latency = (id, title) => ({
    id, title, unit: "ms",
    series: [
      line(`${id}Target`, "Target", "red", { dash: [3, 3] }),
      line(`${id}Expected`, "Profile", "grey", { width: 1 }),
      line(`${id}P95`, "p95", "violet", { width: 1, optional: true }),
      line(id, "Mean", "blue", { width: 2 }),
    ],
  });
  const pool = (id, title) => ({
    id, title, unit: "workers", pool: id, whole: true,
    series: [
      line(`${id}Requested`, "With starting", "green", { fill: 0.14, width: 0, step: true }),
      line(`${id}Ready`, "Ready", "green", { fill: 0.3, width: 1, step: true }),
      line(`${id}Required`, "Required", "orange", { step: true, dash: [4, 3] }),
      line(`${id}Target`, "Decided", "ink", { step: true, width: 2 }),
    ],
  });
  return [
    rate,
    {
      id: "gpus", title: "GPUs in use", unit: "GPUs", whole: true,
      series: [
        line("budget", "Budget", "red", { dash: [3, 3], optional: true }),
        line("gpus", "In use", "blue", { step: true, fill: 0.18, width: 2 }),
      ],
    },
    pool("prefill", "Prefill workers"),
    { ...pool("decode", "Decode workers"), alone: "Workers" },
    latency("ttft", "TTFT"),
    latency("itl", "ITL"),
    length("isl", "Input length (ISL)"),
    length("osl", "Output length (OSL)"),
    {
      id: "correction", title: "Correction factors", unit: "observed / expected",
      series: [
        line("one", "As profiled", "grey", { width: 1, dash: [3, 3] }),
        line("decodeCorrection", "Decode", "violet", { width: 2, alone: "ITL" }),
        line("prefillCorrection", "Prefill", "blue", { width: 2, alone: "TTFT" }),
      ],
    },
    {
      id: "backlog", title: "Requests in the system", unit: "requests",
      series: [
        line("inflight", "In flight", "blue", { fill: 0.12, width: 2 }),
        line("queued", "Queued", "orange", { fill: 0.2, width: 2 }),
      ],
    },
  ];
})();

class Chart {
  static HEIGHT = 176;
  static #STRIP = 5;

  constructor(spec, parent, page) {
    this.spec = spec;
    this.page = page;
    this.legend = Dom.make("dl", { class: "legend" });
    this.stamp = Dom.make("span", { class: "stamp" });
    this.canvas = Dom.make("div", { class: "plot" });
    this.heading = Dom.make("h3", null, spec.title);
    this.unit = Dom.make("span", { class: "unit" }, spec.unit);
    this.card = Dom.make("figure", { class: "card chart", "data-chart": spec.id },
      Dom.make("figcaption", null, this.heading, this.unit, this.stamp),
      this.legend, this.canvas);
    parent.append(this.card);
    this.cells = [];
    new ResizeObserver(() => this.#resize()).observe(this.canvas);
  }

  /* Draw a course anew: the series, the clock or the theme may have changed. */
  build(course, clock, view) {
    this.course = course;
    this.clock = clock;
    this.view = view;
    this.series = this.spec.series.filter((series) => !series.optional || course.columns[series.column].some(Format.known));
    /* The one pool of an aggregated deployment has a row for itself. */
    this.heading.textContent = this.#named(this.spec, this.spec.title);
    this.unit.hidden = this.heading.textContent.toLowerCase() === this.spec.unit;
    this.card.setAttribute("aria-label", this.heading.textContent);
    this.card.classList.toggle("broad", Boolean(course.aggregated && this.spec.pool));
    this.plot?.destroy();
    this.canvas.replaceChildren();
    this.plot = new uPlot(this.#options(), this.#data(), this.canvas);
    this.plot.root.querySelector("canvas").setAttribute("aria-hidden", "true");
    this.#buildLegend();
    this.show(null);
  }

  /* Records came, or another window of time is looked at. */
  update(view) {
    this.view = view;
    this.plot.setData(this.#data(), false);
    this.plot.setScale("x", { min: view[0], max: view[1] });
  }

  /* What a chart or a series is called where one pool serves both phases. */
  #named(what, otherwise) {
    return this.course.aggregated && what.alone ? what.alone : otherwise;
  }

  #data() {
    const columns = this.course.columns;
    return [columns.time, ...this.series.map((series) => columns[series.column])];
  }

  #resize() {
    const width = this.canvas.clientWidth;
    if (this.plot && width && width !== this.plot.width) this.plot.setSize({ width, height: Chart.HEIGHT });
  }

  #options() {
    const colour = Theme.colour;
    const grid = { stroke: colour("grid"), width: 1 };
    const font = `11px ${colour("font")}`;
    const axis = { stroke: colour("muted"), font, ticks: { show: false }, grid };
    const clock = this.clock;
    return {
      width: this.canvas.clientWidth || 320,
      height: Chart.HEIGHT,
      padding: [10, 18, 0, 0],
      legend: { show: false },
      select: { show: true },
      cursor: {
        y: false,
        sync: { key: "planner", scales: ["x", null], setSeries: false },
        drag: { x: true, y: false, setScale: false },
        points: { size: 7, width: 2, fill: (plot, place) => this.series[place - 1].edge || this.series[place - 1].width === 0 ? "transparent" : colour("card"),
          stroke: (plot, place) => this.series[place - 1].edge || this.series[place - 1].width === 0 ? "transparent" : colour(this.series[place - 1].colour) },
        bind: { dblclick: () => () => { this.page.resetZoom(); } },
      },
      scales: {
        x: { time: clock === Format.clocks.wall, range: () => this.view },
        y: { range: (plot, low, high) => this.#yRange(high) },
      },
      axes: [
        { ...axis, space: 64, size: 28, grid: { show: false },
          incrs: clock === Format.clocks.wall ? undefined : [1, 5, 10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800],
          values: (plot, splits, place, space, step) => splits.map((time) => this.#tick(time, step)) },
        { ...axis, size: 48, space: 34, incrs: this.spec.whole ? [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000] : undefined,
          values: (plot, splits) => splits.map(Format.axis) },
      ],
      series: [{}, ...this.series.map((series) => this.#line(series))],
      bands: this.spec.band ? [{ series: this.spec.band, fill: this.#faint(this.series[0].colour, 0.16) }] : [],
      hooks: {
        drawClear: [(plot) => this.#drawBlind(plot)],
        draw: [(plot) => this.#drawBounds(plot)],
        setCursor: [(plot) => this.show(plot.cursor.idx)],
        setSelect: [(plot) => this.#selected(plot)],
        ready: [(plot) => this.#listen(plot)],
      },
    };
  }

  #yRange(high) {
    if (!Format.known(high) || high < 1e-6) return [0, 1];
    if (this.spec.whole) return [0, Math.max(2, Math.ceil(high * 1.15))];
    return [0, high * 1.12];
  }

  #tick(time, step) {
    if (step >= 86400 || this.clock.midnight(time)) return this.clock.day(time);
    return step < 60 ? this.clock.time(time) : this.clock.minute(time);
  }

  #line(series) {
    const stroke = series.edge ? "transparent" : Theme.colour(series.colour);
    return {
      stroke, width: series.edge ? 0 : series.width ?? 1.5, dash: series.dash,
      fill: series.fill ? this.#faint(series.colour, series.fill) : undefined,
      paths: series.step ? uPlot.paths.stepped({ align: 1 }) : undefined,
      points: { show: (plot, place) => !series.edge && series.width !== 0 && this.#lonely(plot.data[place]), size: 5, fill: stroke },
    };
  }

  /* A single value has no line; it is shown as a point. */
  #lonely(values) {
    return values.filter(Format.known).length < 2;
  }

  #faint(name, share) {
    return `color-mix(in srgb, ${Theme.colour(name)} ${Math.round(share * 100)}%, transparent)`;
  }

  /* Shade the intervals in which nothing was seen. */
  #drawBlind(plot) {
    const { blind, time } = this.course.columns;
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.fillStyle = Theme.colour("shade");
    this.#spans(plot, (place) => blind[place], (from, to) => ctx.fillRect(from, bbox.top, to - from, bbox.height), -1);
    ctx.restore();
  }

  /* A strip below the workers: what kept the decision from what the load needs. */
  #drawBounds(plot) {
    if (!this.spec.pool) return;
    const bounds = this.course.columns[`${this.spec.pool}Bound`];
    const { ctx, bbox } = plot;
    const height = Chart.#STRIP * devicePixelRatio;
    ctx.save();
    for (const [name, { colour }] of Object.entries(BOUNDS)) {
      if (!colour) continue;
      ctx.fillStyle = Theme.colour(colour);
      this.#spans(plot, (place) => bounds[place] === name,
        (from, to) => ctx.fillRect(from, bbox.top + bbox.height - height, Math.max(to - from, 2), height), 1);
    }
    ctx.restore();
  }

  /* Call for every stretch of time for whose rows a test holds, from the row on, or up to it with way -1. */
  #spans(plot, test, draw, way) {
    const { time } = this.course.columns;
    const { left, width } = plot.bbox;
    const inside = (t) => Math.min(Math.max(plot.valToPos(t, "x", true), left), left + width);
    const step = this.course.planner.interval_s || 60;
    for (let place = 0; place < time.length; place++) {
      if (!test(place)) continue;
      const begin = place;
      while (place + 1 < time.length && test(place + 1)) place++;
      const from = way > 0 ? time[begin] : (time[begin - 1] ?? time[begin] - step);
      const to = way > 0 ? (time[place + 1] ?? time[place] + step) : time[place];
      if (to >= this.view[0] && from <= this.view[1]) draw(inside(from), inside(to));
    }
  }

  #selected(plot) {
    const { left, width } = plot.select;
    if (width < 6) return;
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.page.zoom([plot.posToVal(left, "x"), plot.posToVal(left + width, "x")]);
  }

  /* A click that is no drag opens the decision of that moment; a first tap only shows it. */
  #listen(plot) {
    let pressed = null, touching = false, tapped = null;
    new Touch(plot, this.page);
    plot.over.addEventListener("pointerdown", (event) => { touching = event.pointerType === "touch"; });
    plot.over.addEventListener("mousedown", (event) => { pressed = event.clientX; });
    plot.over.addEventListener("click", (event) => {
      if (pressed === null || Math.abs(event.clientX - pressed) >= 4 || event.detail !== 1 && !touching) return;
      const time = plot.posToVal(plot.cursor.left, "x");
      const again = tapped !== null && Math.abs(event.clientX - tapped) < 24;
      tapped = touching && !again ? event.clientX : null;
      if (touching && !again) this.page.point(time); else this.page.openAt(time);
    });
  }

  static #swatch(series) {
    if (series.width === 0) return "area faint";
    if (series.step && series.fill) return "area";
    return series.dash ? "dashed" : "";
  }

  #buildLegend() {
    /* What is drawn last lies on top, and is named first. */
    this.cells = this.series.filter((series) => series.label).reverse().map((series) => {
      const value = Dom.make("dd");
      const item = Dom.make("div", null, Dom.make("dt", null,
        Dom.make("i", { class: `swatch ${Chart.#swatch(series)}`, "data-colour": series.colour }), this.#named(series, series.label)), value);
      return { item, value, column: series.column };
    });
    const extra = [];
    if (this.spec.bandLabel) extra.push(Dom.make("div", null, Dom.make("dt", null, Dom.make("i", { class: "swatch area", "data-colour": this.series[0].colour }), this.spec.bandLabel), this.range = Dom.make("dd")));
    if (this.spec.pool) {
      this.bound = Dom.make("dd");
      extra.push(Dom.make("div", { class: "bound" }, Dom.make("dt", null, this.boundSwatch = Dom.make("i", { class: "swatch area" }), "Bound by"), this.bound));
    }
    this.legend.replaceChildren(...this.cells.map((cell) => cell.item), ...extra);
  }

  /* Show the values at a row, or the newest ones. */
  show(place) {
    const columns = this.course.columns;
    const row = (column) => place ?? columns[column].findLastIndex((value, index) => value !== undefined && (columns.record[index] !== null || Format.known(value)));
    const at = (column) => columns[column][row(column)];
    const text = this.spec.whole || this.spec.id === "backlog" ? Format.count : Format.number;
    for (const cell of this.cells) cell.value.textContent = text(at(cell.column));
    if (this.range) this.range.textContent = Format.known(at(`${this.spec.id}Low`)) ? `${text(at(`${this.spec.id}Low`))}–${text(at(`${this.spec.id}High`))}` : Format.UNKNOWN;
    if (this.bound) {
      const bound = at(`${this.spec.pool}Bound`);
      this.bound.textContent = bound ? BOUNDS[bound]?.label ?? bound : Format.UNKNOWN;
      this.boundSwatch.dataset.colour = BOUNDS[bound]?.colour ?? "grid";
    }
    this.stamp.textContent = Format.known(place) ? this.clock.time(columns.time[place]) : "";
  }
}

/* All charts of a page. */
class Charts {
  constructor(parent, page) {
    this.charts = CHARTS.map((spec) => new Chart(spec, parent, page));
    parent.addEventListener("mouseleave", () => this.point(null));
  }

  build(course, clock, view) {
    for (const chart of this.charts) {
      const absent = chart.spec.pool && !course.pools.some(([pool]) => pool === chart.spec.pool);
      chart.card.hidden = absent || !chart.spec.series.some((series) => !series.edge && !series.optional && course.columns[series.column].some(Format.known));
      if (!chart.card.hidden) chart.build(course, clock, view);
    }
    this.built = course;
  }

  update(view) {
    for (const chart of this.shown) chart.update(view);
  }

  get shown() { return this.charts.filter((chart) => !chart.card.hidden && chart.plot); }

  /* Move the cursor of every chart to a time; null takes it away. */
  point(time) {
    for (const { plot } of this.shown) {
      plot.setCursor(time === null ? { left: -10, top: -10 } : { left: plot.valToPos(time, "x"), top: 10 }, false);
    }
    for (const chart of this.shown) chart.show(time === null ? null : chart.plot.cursor.idx);
  }
}
