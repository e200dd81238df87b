"use strict";
/* The numbers of the moment, each with its recent course. */
const Tiles = (() => {
  const { make, draw } = Dom;
  const POINTS = 60;

  function sparkline(values, target) {
    const shown = values.filter((value) => value !== undefined).slice(-POINTS).map((value) => (Format.known(value) ? value : null));
    const most = Math.max(...shown.filter(Format.known), target || 0, 1e-9);
    const place = (value, index) => `${(index / Math.max(1, shown.length - 1) * 100).toFixed(1)},${(27 - value / most * 24).toFixed(1)}`;
    let path = "", down = false;
    shown.forEach((value, index) => {
      if (value === null) { down = false; return; }
      path += `${down ? "L" : "M"}${place(value, index)}`;
      down = true;
    });
    return draw("svg", { class: "spark", viewBox: "0 0 100 28", preserveAspectRatio: "none", "aria-hidden": "true" },
      target ? draw("path", { class: "limit", d: `M0,${(27 - target / most * 24).toFixed(1)}H100` }) : null,
      draw("path", { d: path }));
  }

  function tile(id, label, value, unit, detail, values, more = {}) {
    return make("article", { class: "card tile", "data-tile": id, "data-tone": more.tone },
      make("h2", null, label),
      make("p", { class: "value" }, make("strong", null, value), unit ? make("span", null, unit) : null, more.chip),
      make("p", { class: "detail" }, detail),
      values ? sparkline(values, more.target) : null);
  }

  function pool(course, name, label) {
    const record = course.latest;
    const why = record.decision.explanation[name];
    const workers = record.observation[name];
    const parts = [`${Format.count(why.target)} decided`];
    if (why.required !== null) parts.push(`${Format.count(why.required)} required`);
    if (workers?.pending) parts.push(`${workers.pending} starting`);
    if (workers?.draining) parts.push(`${workers.draining} draining`);
    const feasible = (course.aggregated ? POOLS : [name]).every((one) => record.decision.explanation[one].feasible);
    const bound = Course.bound(record, name);
    const chip = bound === "load" ? null : make("span", { class: "chip", "data-colour": BOUNDS[bound]?.colour ?? "grey" }, BOUNDS[bound]?.label ?? bound);
    return tile(name, label, workers ? Format.count(workers.ready) : Format.UNKNOWN, "ready", parts.join(" · "),
      course.columns[`${name}Ready`], { chip: feasible ? chip : make("span", { class: "chip", "data-colour": "red" }, "infeasible") });
  }

  function latency(course, name, label, poolName) {
    const seen = course.latestAdjustment.observation[`${name}_ms`];
    const target = course.latest.decision.explanation[poolName].target_ms;
    const share = Format.known(seen) ? seen / target : null;
    const tone = share === null ? null : share > 1 ? "bad" : share > 0.9 ? "near" : "good";
    const detail = share === null ? `target ${Format.ms(target)}` : `${Math.round(share * 100)} % of the target of ${Format.ms(target)}`;
    return tile(name, label, Format.number(seen), "ms", detail, course.columns[name], { tone, target });
  }

  function render(parent, course, state) {
    const seen = course.latestAdjustment?.observation ?? course.latest.observation;
    const why = course.latest.decision.explanation;
    const load = why.forecast;
    const rate = seen.requests_started === null ? null : seen.requests_started / seen.interval;
    const budget = course.planner.max_gpus;
    const gpus = course.gpus(course.latest.observation);
    const hours = state?.gpu_hours ?? course.gpuHours;
    parent.replaceChildren(...[
      ...course.pools.map(([name, label]) => pool(course, name, course.aggregated ? label : `${label} workers`)),
      tile("gpus", "GPUs in use", Format.count(gpus), budget ? `of ${budget}` : "", `${Format.number(hours)} GPU-hours${state ? " since the start" : ""}`, course.columns.gpus,
        { target: budget, tone: budget && gpus > budget ? "bad" : null }),
      tile("rate", "Request rate", Format.number(rate), "req/s",
        load ? `next ${Format.number(load.requests / load.interval)} (${Format.number(load.requests_p10 / load.interval)}–${Format.number(load.requests_p90 / load.interval)})` : "no forecast yet", course.columns.rate),
      course.aggregated ? tile("backlog", "Requests in the system", Format.count(seen.inflight), "in flight", `${Format.count(seen.queued)} queued`, course.columns.inflight) : null,
      latency(course, "ttft", "TTFT", "prefill"),
      latency(course, "itl", "ITL", "decode"),
      tile("lengths", "ISL / OSL", `${Format.count(seen.isl)} / ${Format.count(seen.osl)}`, "",
        load ? `tokens, next ${Format.count(load.isl)} / ${Format.count(load.osl)}` : "tokens, no forecast yet", course.columns.isl),
      tile("correction", course.aggregated ? "Correction TTFT / ITL" : "Correction P / D", `${Format.fixed(why.prefill.correction_factor, 2)} / ${Format.fixed(why.decode.correction_factor, 2)}`, "",
        "observed over expected latency", course.columns.prefillCorrection),
    ].filter(Boolean));
  }

  return { render };
})();
