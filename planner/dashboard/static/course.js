"use strict";
/* The records of a run as columns over time: what charts, tiles and the time-line are drawn from. */
const POOLS = ["prefill", "decode"];
const APART = [["prefill", "Prefill"], ["decode", "Decode"]];
const TOGETHER = [["decode", "Workers"]];

class Course {
  constructor(planner) {
    this.planner = planner;
    this.records = [];
    this.#known = new Map();
  }

  #known;

  /* Not by its number: without a file a planner that starts again counts from 1. */
  static key(record) {
    return `${record.kind || "adjustment"}@${record.decision.time}`;
  }

  /* Take in records in any order; one that is known already is replaced by what it has become. */
  add(records) {
    let sorted = true;
    for (const record of records) {
      const key = Course.key(record);
      const place = this.#known.get(key);
      if (place !== undefined) { this.records[place] = record; continue; }
      const last = this.records.at(-1);
      if (last && last.decision.time > record.decision.time) sorted = false;
      this.#known.set(key, this.records.push(record) - 1);
    }
    if (!sorted) {
      this.records.sort((a, b) => a.decision.time - b.decision.time);
      this.records.forEach((record, place) => this.#known.set(Course.key(record), place));
    }
    /* Whether one pool serves both phases, which counts as decode. */
    this.aggregated = this.planner.mode === "agg" && !this.records.some((record) => record.decision.prefill);
    this.columns = this.#columns();
  }

  /* The pools there are, and what they are called. */
  get pools() { return this.aggregated ? TOGETHER : APART; }

  /* What a decision asks for, in words. */
  targets({ prefill, decode }) {
    return this.aggregated ? `${decode} worker${decode === 1 ? "" : "s"}` : `prefill ${prefill}, decode ${decode}`;
  }

  get latest() { return this.records.at(-1); }

  /* The last adjustment: a reaction between two sees a few seconds only. */
  get latestAdjustment() { return this.records.findLast((record) => record.kind !== "reaction"); }

  get span() {
    return this.records.length ? [this.records[0].decision.time, this.latest.decision.time] : null;
  }

  /* The record nearest to a time. */
  at(time) {
    return this.records[this.index(time)];
  }

  index(time) {
    let low = 0, high = this.records.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.records[middle].decision.time < time) low = middle + 1; else high = middle;
    }
    const before = this.records[low - 1];
    return before && time - before.decision.time < this.records[low].decision.time - time ? low - 1 : low;
  }

  #columns() {
    const rows = this.#rows();
    const column = (read) => rows.map((row) => (row ? read(row) : null));
    /* undefined lets a line pass over a reaction, null breaks it where nothing is known. */
    const seen = (read) => column((row) => (row.reaction ? undefined : row.next ? null : read(row.record.observation) ?? null));
    const expected = (read) => column((row) => (row.reaction ? undefined : row.forecast ? read(row.forecast) : null));
    const decided = (read) => column((row) => (row.next ? null : read(row.record.decision.explanation, row.record)));
    const all = {
      time: rows.map((row, place) => row ? row.time : (rows[place - 1].time + rows[place + 1].time) / 2),
      record: column((row) => row.record),
      blind: column((row) => Boolean(row.record) && !row.reaction && row.record.observation.requests_started === null),
      rate: seen((one) => (one.requests_started === null ? null : one.requests_started / one.interval)),
      ratePredicted: expected((load) => load.requests / load.interval),
      rateLow: expected((load) => load.requests_p10 / load.interval),
      rateHigh: expected((load) => load.requests_p90 / load.interval),
      ttft: seen((one) => one.ttft_ms),
      ttftP95: seen((one) => Course.quantile(one.ttft_quantiles_ms, 0.95)),
      ttftExpected: decided((why) => why.prefill.expected_ms),
      ttftTarget: column((row) => (row.record || row.before).decision.explanation.prefill.target_ms),
      itl: seen((one) => one.itl_ms),
      itlP95: seen((one) => Course.quantile(one.itl_quantiles_ms, 0.95)),
      itlExpected: decided((why) => why.decode.expected_ms),
      itlTarget: column((row) => (row.record || row.before).decision.explanation.decode.target_ms),
      queued: seen((one) => one.queued),
      inflight: seen((one) => one.inflight),
      gpus: column((row) => (row.next ? null : this.gpus(row.record.observation))),
      budget: column(() => this.planner.max_gpus ?? null),
      one: column(() => 1),
    };
    for (const length of ["isl", "osl"]) {
      all[length] = seen((one) => one[length]);
      all[`${length}Predicted`] = expected((load) => load[length]);
    }
    for (const pool of POOLS) {
      const workers = (read) => column((row) => (row.next || !row.record.observation[pool] ? null : read(row.record.observation[pool])));
      all[`${pool}Ready`] = workers((one) => one.ready);
      all[`${pool}Requested`] = workers((one) => one.ready + one.pending);
      all[`${pool}Required`] = decided((why) => why[pool].required);
      all[`${pool}Target`] = decided((why) => why[pool].target);
      all[`${pool}Correction`] = decided((why) => why[pool].correction_factor);
      all[`${pool}Bound`] = decided((why, record) => Course.bound(record, pool));
    }
    return all;
  }

  /* A row for each record, each with the forecast that was made for it; null where the planner was not there;
     and at the end one for the interval to come. */
  #rows() {
    const rows = [];
    let before = null;
    const gap = 3 * this.#spacing();
    for (const record of this.records) {
      const time = record.decision.time;
      const reaction = record.kind === "reaction";
      const torn = before && time - before.decision.time > gap;
      if (torn) rows.push(null);
      rows.push({ record, time, reaction, before, forecast: torn ? null : before?.decision.explanation.forecast });
      if (!reaction) before = record;
    }
    const forecast = before?.decision.explanation.forecast;
    if (forecast) {
      const time = Math.max(before.decision.time + forecast.interval, this.latest.decision.time + 1e-3);
      rows.push({ record: null, next: true, time, before, forecast });
    }
    return rows;
  }

  /* The usual time between two adjustments; more than the interval where a long view is thinned. */
  #spacing() {
    const times = this.records.filter((record) => record.kind !== "reaction").map((record) => record.decision.time);
    const steps = times.slice(1).map((time, place) => time - times[place]).sort((a, b) => a - b);
    return Math.max(this.planner.interval_s || 0, steps[steps.length >> 1] || 0) || Infinity;
  }

  /* A worker uses its GPUs from when it starts until it has drained. */
  gpus(observation) {
    const present = (workers) => (workers ? workers.ready + workers.pending + workers.draining : null);
    if (this.pools.every(([pool]) => !observation[pool])) return null;
    return (present(observation.prefill) || 0) * this.planner.prefill_gpus + (present(observation.decode) || 0) * this.planner.decode_gpus;
  }

  /* As the planner counted them, or else what the records add up to. */
  get gpuHours() {
    const counted = this.records.findLast((record) => Format.known(record.gpu_hours));
    if (counted) return counted.gpu_hours;
    let hours = 0;
    for (let place = 1; place < this.records.length; place++) {
      const [from, to] = [this.records[place - 1], this.records[place]];
      hours += (this.gpus(from.observation) || 0) * (to.decision.time - from.decision.time) / 3600;
    }
    return hours;
  }

  /* What keeps the workers of a pool from what the load needs: the decision tells, or an earlier one that is still
     being carried out. */
  static bound(record, pool) {
    const { target, bound_by: bound } = record.decision.explanation[pool];
    const workers = record.observation[pool];
    const differs = !workers || workers.ready + workers.pending !== target;
    return record.applied?.outcome === "waiting" && differs ? "pending" : bound;
  }

  static quantile(quantiles, p) {
    if (!quantiles) return null;
    const found = Object.keys(quantiles).find((key) => Math.abs(Number(key) - p) < 1e-9);
    return found === undefined ? null : quantiles[found];
  }
}
