"use strict";
/* The health of everything the planner depends on, and the age of its data. */
const Health = (() => {
  const { make } = Dom;

  function item(name, tone, word, rows, more) {
    return make("article", { class: "source", "data-tone": tone, "data-source": name },
      make("h3", null, make("i", { class: "dot" }), name, make("span", { class: "word" }, word)),
      rows.length ? make("dl", null, ...rows.map(([label, value, bad]) => make("div", { class: bad ? "bad" : "" }, make("dt", null, label), make("dd", null, value)))) : null,
      more);
  }

  function metrics(status, planner, now) {
    const errors = Object.entries(status.errors);
    const fields = Object.entries(status.series_matched);
    const age = status.newest_data === null ? null : Math.max(0, now - status.newest_data);
    const stale = age !== null && age > 3 * (planner.interval_s || 60);
    const missing = fields.filter(([, count]) => count === 0);
    const tone = errors.length || stale || age === null ? "bad" : missing.length ? "near" : "good";
    const word = errors.length ? `${errors.length} failed` : stale ? "stale" : age === null ? "no data yet" : missing.length ? "incomplete" : "healthy";
    return item("Metrics", tone, word, [
      ["Source", planner.source || Format.UNKNOWN],
      ["Data age", Format.span(age), stale],
      ...errors.map(([field, text]) => [text.startsWith(field) ? "Error" : field, text, true]),
    ], fields.length ? make("details", { class: "series" }, make("summary", null, `${fields.length} queries`),
      make("dl", null, ...fields.map(([field, count]) => make("div", { class: count ? "" : "bad" }, make("dt", null, field), make("dd", null, `${count} series`))))) : null);
  }

  function loop(state, planner, course, now) {
    const record = course?.latestAdjustment;
    const age = record ? now - record.decision.time : null;
    const late = state.trouble || (age !== null && age > 3 * planner.interval_s);
    return item("Adjustments", late ? "bad" : record ? "good" : "near", late ? "late" : record ? "on time" : "none yet", [
      ["Last", record ? `${Format.span(age)} ago` : Format.UNKNOWN, late],
      ["Every", Format.span(planner.interval_s)],
      ["Took", record && Format.known(record.duration_s) ? `${Format.number(record.duration_s * 1000)} ms` : Format.UNKNOWN],
      ["Failures", Format.count(state.failures), state.failures > 0],
    ]);
  }

  function target(state, planner, course) {
    const seen = course?.latest?.observation;
    const known = seen && course.pools.some(([pool]) => seen[pool]);
    const record = course?.records.findLast((one) => one.applied);
    const overdue = record?.applied.overdue;
    const [tone, word] = !state.leading ? ["near", "not acting"] : overdue ? ["bad", "overdue"] : known || !seen ? ["good", known ? "reachable" : "starting"] : ["bad", "workers unknown"];
    return item("Deployment", tone, word, [
      ["Environment", planner.environment],
      ["Last handed over", record ? record.applied.outcome : "nothing yet"],
      ...(record?.applied.detail ? [["Detail", record.applied.detail, overdue]] : []),
    ]);
  }

  function render(parent, course, state, planner, now) {
    if (state) {
      const open = parent.querySelector("details")?.open;
      parent.replaceChildren(metrics(state.source, planner, now), loop(state, planner, course, now), target(state, planner, course));
      if (open) parent.querySelector("details").open = true;
      return;
    }
    const source = course.records.findLast((record) => record.source)?.source;
    const blind = course.columns.blind.filter(Boolean).length;
    const parts = [item("Observations", blind ? "near" : "good", blind ? `${blind} blind` : "complete", [
      ["Adjustments", Format.count(course.records.filter((record) => record.kind !== "reaction").length)],
      ["Blind", Format.count(blind), blind > 0],
      ["Reactions", Format.count(course.records.filter((record) => record.kind === "reaction").length)],
    ])];
    if (source) parts.push(metrics(source, planner, course.latest.decision.time));
    parent.replaceChildren(...parts);
  }

  return { render };
})();
