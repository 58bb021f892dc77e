const MOST_SECONDS = 86_400; // a page left open for longer is no longer work

/** Seconds for which something was in view: hidden tabs do not count, nor does what is paused. */
export class Stopwatch {
  constructor(seconds = 0) {
    this.total = seconds > 0 ? seconds * 1000 : 0;
    this.paused = false;
    this.since = document.hidden ? null : performance.now();
    this.listener = () => this.tick();
    document.addEventListener("visibilitychange", this.listener);
  }

  tick() {
    const now = performance.now();
    if (this.since !== null) this.total += now - this.since;
    this.since = document.hidden || this.paused ? null : now;
  }

  pause(paused) {
    this.paused = paused;
    this.tick();
  }

  seconds() {
    this.tick();
    return Math.min(Math.round(this.total) / 1000, MOST_SECONDS);
  }

  stop() {
    document.removeEventListener("visibilitychange", this.listener);
  }
}
