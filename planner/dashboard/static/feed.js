"use strict";
/* Where the page has its data from: the planner, live, or what is embedded in the page itself. */
class Refused extends Error {
  constructor(status, detail) { super(detail); this.status = status; }
}

class LiveFeed {
  static #SILENCE_MS = 10000;
  static #LONGEST_PAUSE_MS = 10000;
  static #KEY = "planner-token";
  static #MOST_RECORDS = 3000;
  static #SLICES = 1440;

  /* listener has onState(state), onFetched(since, until, step), onRecords(records), onStatus(name, detail). */
  constructor(listener) {
    this.listener = listener;
    this.newest = null;
    this.behind = null;
    this.token = LiveFeed.#tokenGiven();
  }

  /* A token may come in the fragment of the address, which no server and no log sees; it is taken out of there. */
  static #tokenGiven() {
    const given = new URLSearchParams(location.hash.slice(1)).get("token");
    if (given) {
      history.replaceState(null, "", location.pathname + location.search);
      LiveFeed.#remember(given);
      return given;
    }
    try { return sessionStorage.getItem(LiveFeed.#KEY); } catch { return null; }
  }

  static #remember(token) {
    try { sessionStorage.setItem(LiveFeed.#KEY, token); } catch { /* it lasts as long as the page, then */ }
  }

  /* Go on for ever: a lost connection is sought again, and what was missed is fetched. */
  async run() {
    for (let failures = 0; ; failures++) {
      try {
        this.heard = false;
        await this.#follow();
      } catch (error) {
        if (error instanceof Refused && error.status === 401) {
          this.listener.onStatus("denied", this.token ? "That token is not the planner's." : "");
          this.token = await new Promise((resolve) => { this.signIn = resolve; });
          LiveFeed.#remember(this.token);
          this.listener.onStatus("connecting");
          failures = -1;
          continue;
        }
        this.problem = error instanceof Refused ? error.message : null;
      }
      if (this.heard) failures = 0;
      const pause = Math.min(1000 * 2 ** failures, LiveFeed.#LONGEST_PAUSE_MS);
      this.listener.onStatus("lost", this.problem);
      await this.#rest(pause);
    }
  }

  /* A pause that ends early when the page is looked at again or the network is back. */
  #rest(ms) {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        removeEventListener("online", done);
        document.removeEventListener("visibilitychange", done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      addEventListener("online", done);
      document.addEventListener("visibilitychange", done);
    });
  }

  async #get(path, options = {}) {
    const headers = this.token ? { Authorization: `Bearer ${this.token}` } : {};
    const response = await fetch(path, { headers, cache: "no-store", ...options });
    if (response.ok) return response;
    let detail = `${response.status} ${response.statusText}`;
    try { detail = (await response.json()).detail || detail; } catch { /* whoever answered is not the planner */ }
    throw new Refused(response.status, detail);
  }

  /* Seconds in which only what matters is fetched of so long a time; 0 if all of it is. */
  static step(seconds, interval) {
    return seconds / interval > LiveFeed.#MOST_RECORDS ? seconds / LiveFeed.#SLICES : 0;
  }

  /* Records of a time, oldest first, thinned to those that matter in each step, if there is one. */
  async records(since, until, step) {
    const query = new URLSearchParams({ since, until });
    if (step) query.set("slices", Math.ceil((until - since) / step));
    return (await (await this.#get(`api/v1/decisions?${query}`)).json()).decisions;
  }

  async #follow() {
    const silence = new AbortController();
    let watch;
    const alive = () => { clearTimeout(watch); watch = setTimeout(() => silence.abort(), LiveFeed.#SILENCE_MS); };
    try {
      alive();
      const response = await this.#get("api/v1/events", { signal: silence.signal });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        alive();
        const events = (rest + value).split("\n\n");
        rest = events.pop();
        for (const event of events) await this.#take(event);
      }
    } finally {
      clearTimeout(watch);
      silence.abort();
    }
  }

  async #take(text) {
    const lines = text.split("\n");
    const name = lines.find((line) => line.startsWith("event: "))?.slice(7);
    const data = lines.filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
    if (!data) return;
    const content = JSON.parse(data);
    if (name === "record") return this.#deliver([content]);
    await this.listener.onState(content);
    /* A record follows the state that tells of it; one that has not come by the next state was lost on the way. */
    const behind = content.newest !== null && content.newest > (this.newest ?? -Infinity) ? content.newest : null;
    const lost = behind !== null && behind === this.behind;
    this.behind = behind;
    if (!this.heard || lost) {
      const since = this.newest ?? content.now - this.listener.span;
      const step = LiveFeed.step(content.now - since, content.planner.interval_s);
      /* What is decided from now on comes by itself, and may be here twice. */
      const records = await this.records(since, content.now + 60, step);
      this.listener.onFetched(since, content.now, step);
      this.#deliver(records);
      this.heard = true;
    }
    this.listener.onStatus("live");
  }

  #deliver(records) {
    for (const record of records) this.newest = Math.max(this.newest ?? -Infinity, record.decision.time);
    this.listener.onRecords(records);
  }
}

const Recording = {
  /* What is embedded in the page, or null. */
  async embedded() {
    const text = Dom.find("recording").textContent.trim();
    if (!text) return null;
    const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).json();
  },
};
