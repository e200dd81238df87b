"use strict";
/* Of which times all records are here, and of which only those that matter in each step. */
class Coverage {
  #parts = [];

  /* From and to are times, step the length of a slice in seconds; 0 if nothing was left out. */
  add(from, to, step) {
    const touching = ([a, b, s]) => s === step && step === 0 && a <= to && b >= from;
    const joined = this.#parts.filter(touching);
    this.#parts = this.#parts.filter((part) => !touching(part));
    this.#parts.push([Math.min(from, ...joined.map(([a]) => a)), Math.max(to, ...joined.map(([, b]) => b)), step]);
  }

  covers(from, to, step) {
    const fine = this.#parts.filter(([, , s]) => s <= step).sort(([a], [b]) => a - b);
    const reached = fine.reduce((reach, [a, b]) => (a <= reach ? Math.max(reach, b) : reach), from);
    return reached >= to;
  }

  clear() { this.#parts = []; }
}
