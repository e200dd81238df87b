"use strict";
/* Elements, made from text alone: nothing that was observed or named can become markup. */
const Dom = (() => {
  const SVG = "http://www.w3.org/2000/svg";

  function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
    return node;
  }

  const make = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
  const draw = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
  const find = (id) => document.getElementById(id);

  /* One of several choices, as buttons that are pressed or not. */
  function segments(parent, choices, chosen, choose) {
    const buttons = choices.map(([value, label, title]) => make("button", {
      type: "button", title, "aria-pressed": String(value === chosen), "data-value": value,
      onclick: () => choose(value),
    }, label));
    const held = parent.contains(document.activeElement) ? document.activeElement.dataset.value : null;
    parent.replaceChildren(...buttons);
    if (held !== null) buttons.find((button) => button.dataset.value === held)?.focus();
  }

  return { make, draw, find, segments };
})();
