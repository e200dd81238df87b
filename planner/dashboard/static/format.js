"use strict";
/* Numbers and times as people read them. What is unknown is a dash, never zero. */
const Format = (() => {
  const UNKNOWN = "–";
  const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
  const known = (value) => typeof value === "number" && Number.isFinite(value);

  function fixed(value, digits) {
    return known(value) ? value.toFixed(digits) : UNKNOWN;
  }

  /* Three significant digits where there is a fraction, whole numbers above 100. */
  function number(value) {
    if (!known(value)) return UNKNOWN;
    const size = Math.abs(value);
    if (size >= 100) return whole.format(value);
    return value.toFixed(size >= 10 ? 1 : 2);
  }

  function count(value) {
    return known(value) ? whole.format(value) : UNKNOWN;
  }

  function ms(value) {
    return known(value) ? `${number(value)} ms` : UNKNOWN;
  }

  function axis(value) {
    if (!known(value)) return "";
    if (Math.abs(value) >= 10000) return `${Number((value / 1000).toPrecision(3))}k`;
    return String(Number(value.toPrecision(4)));
  }

  function span(seconds) {
    if (!known(seconds)) return UNKNOWN;
    const s = Math.max(0, Math.round(seconds));
    if (s < 90) return `${s} s`;
    if (s < 5400) return `${Math.round(s / 60)} min`;
    if (s < 172800) return `${Number((s / 3600).toFixed(1))} h`;
    return `${Math.round(s / 86400)} days`;
  }

  const two = (value) => String(value).padStart(2, "0");

  /* Clocks: of the wall, in the reader's time zone, or the time since a simulation began. */
  const wall = {
    time: (t) => { const d = new Date(t * 1000); return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`; },
    minute: (t) => { const d = new Date(t * 1000); return `${two(d.getHours())}:${two(d.getMinutes())}`; },
    day: (t) => new Date(t * 1000).toLocaleDateString("en-GB", { day: "numeric", month: "short" }),
    full: (t) => `${wall.day(t)}, ${wall.time(t)}`,
    midnight: (t) => { const d = new Date(t * 1000); return d.getHours() === 0 && d.getMinutes() === 0; },
  };
  const elapsed = {
    time: (t) => `${Math.floor(t / 3600)}:${two(Math.floor(t / 60) % 60)}:${two(Math.floor(t) % 60)}`,
    minute: (t) => `${Math.floor(t / 3600)}:${two(Math.floor(t / 60) % 60)}`,
    day: (t) => `${t / 3600} h`,
    full: (t) => elapsed.time(t),
    midnight: () => false,
  };

  return { UNKNOWN, known, fixed, number, count, ms, axis, span, clocks: { wall, elapsed } };
})();
