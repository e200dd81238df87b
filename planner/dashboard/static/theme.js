"use strict";
/* Light, dark, or as the system has it; chosen before anything is drawn. */
const Theme = (() => {
  const CHOICES = ["auto", "light", "dark"];
  const KEY = "planner-theme";
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const listeners = [];

  /* A page opened as a file, or in a private window, may have no storage. */
  function stored() {
    try { return localStorage.getItem(KEY); } catch { return null; }
  }

  function remember(choice) {
    try { localStorage.setItem(KEY, choice); } catch { /* it lasts as long as the page, then */ }
  }

  let choice = CHOICES.includes(stored()) ? stored() : "auto";

  function show() {
    root.dataset.theme = choice === "auto" ? (system.matches ? "dark" : "light") : choice;
    listeners.forEach((listener) => listener());
  }

  function next() {
    choice = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length];
    remember(choice);
    show();
  }

  system.addEventListener("change", show);
  show();
  return {
    next,
    onChange: (listener) => listeners.push(listener),
    get choice() { return choice; },
    colour: (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim(),
  };
})();
