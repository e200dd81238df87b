"use strict";
/* Fingers on a chart: one moves along time, or through it where it is zoomed; two zoom. Up and down still scrolls. */
class Touch {
  static #LEAST_APART = 24;

  constructor(plot, page) {
    this.plot = plot;
    this.page = page;
    this.fingers = new Map();
    const on = (name, handle) => plot.over.addEventListener(name, (event) => { if (event.pointerType === "touch") handle(event); });
    on("pointerdown", (event) => this.#down(event));
    on("pointermove", (event) => this.#move(event));
    for (const name of ["pointerup", "pointercancel", "pointerleave"]) on(name, (event) => this.#up(event));
  }

  #down(event) {
    this.fingers.set(event.pointerId, this.#x(event));
    this.#grasp();
  }

  #up(event) {
    if (this.fingers.delete(event.pointerId)) this.#grasp();
  }

  #move(event) {
    if (!this.fingers.has(event.pointerId)) return;
    this.fingers.set(event.pointerId, this.#x(event));
    /* Fingers move more often than the screen is drawn. */
    this.pending ??= requestAnimationFrame(() => { this.pending = null; this.#follow(); });
  }

  #x(event) { return event.clientX - this.plot.over.getBoundingClientRect().left; }

  /* What lies under the fingers stays under them. */
  #grasp() {
    this.held = [...this.fingers].slice(0, 2).map(([id, x]) => ({ id, time: this.plot.posToVal(x, "x") }));
  }

  #follow() {
    const [first, second] = this.held.map(({ id, time }) => ({ time, x: this.fingers.get(id) }));
    if (!first) return;
    const width = this.plot.over.clientWidth;
    if (second) {
      const [left, right] = first.x < second.x ? [first, second] : [second, first];
      if (right.x - left.x < Touch.#LEAST_APART || right.time <= left.time) return;
      const scale = (right.time - left.time) / (right.x - left.x);
      this.page.zoom([left.time - left.x * scale, left.time + (width - left.x) * scale]);
    } else if (this.page.zoomed) {
      const [from, to] = this.page.zoomed;
      const begin = first.time - first.x / width * (to - from);
      this.page.zoom([begin, begin + to - from]);
    } else {
      this.page.point(this.plot.posToVal(first.x, "x"));
    }
  }
}
