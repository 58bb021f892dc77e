// What a labeler has said about one item: ranks with ties, "none is acceptable", and its history.
// No document here: the page draws what this knows.

export const LETTERS = "ABCDEFGHI";

export class Board {
  constructor(item) {
    this.item = item;
    this.ids = item.responses.map((response) => response.id);
    this.ranks = this.ids.map(() => null);
    this.none = false;
    this.picked = 0;
    this.past = [];
    this.submission = null;
  }

  get letters() {
    return LETTERS.slice(0, this.ids.length);
  }

  remember() {
    this.past.push({ ranks: [...this.ranks], none: this.none, picked: this.picked });
    this.submission = null; // a changed answer is another submission, even after a failed save
  }

  pick(index) {
    if (index < 0 || index >= this.ids.length) return false;
    this.picked = index;
    return true;
  }

  rank(index, rank) {
    if (rank < 1 || rank > this.ids.length || this.ranks[index] === rank) return false;
    this.remember();
    this.ranks[index] = rank;
    return true;
  }

  clear(index) {
    if (this.ranks[index] === null) return false;
    this.remember();
    this.ranks[index] = null;
    return true;
  }

  toggleNone() {
    this.remember();
    this.none = !this.none;
  }

  undo() {
    const before = this.past.pop();
    if (!before) return false;
    Object.assign(this, before, { submission: null });
    return true;
  }

  /** Goes to the first response after the picked one, in a circle, that has no rank yet. */
  pickNextUnranked() {
    for (let step = 1; step < this.ids.length; step += 1) {
      const index = (this.picked + step) % this.ids.length;
      if (this.ranks[index] === null) return this.pick(index);
    }
    return false;
  }

  unranked() {
    return [...this.letters].filter((_, index) => this.ranks[index] === null);
  }

  tiedWith(index) {
    const rank = this.ranks[index];
    return [...this.letters].filter((_, i) => i !== index && rank !== null && this.ranks[i] === rank);
  }

  /** Letters by tie group, best first. */
  groups() {
    const levels = [...new Set(this.ranks.filter((rank) => rank !== null))].sort((a, b) => a - b);
    return levels.map((level) => [...this.letters].filter((_, i) => this.ranks[i] === level));
  }

  touched() {
    return this.none || this.ranks.some((rank) => rank !== null);
  }

  /** All ranked; or none acceptable, said without an order. */
  complete() {
    const missing = this.unranked().length;
    return missing === 0 || (this.none && missing === this.ids.length);
  }

  /** The answer to send; the same until it is changed, so that sending it again saves it once. */
  answer(seconds) {
    this.submission ??= {
      submission_id: crypto.randomUUID(),
      item_id: this.item.item_id,
      answer: {
        ranks: Object.fromEntries(
          this.ids.flatMap((id, i) => (this.ranks[i] === null ? [] : [[id, this.ranks[i]]])),
        ),
        none_acceptable: this.none,
      },
      duration_seconds: seconds,
    };
    return this.submission;
  }
}

/** Seconds for which something was in view: hidden tabs do not count. */
export class Stopwatch {
  constructor() {
    this.total = 0;
    this.since = document.hidden ? null : performance.now();
    this.listener = () => this.tick();
    document.addEventListener("visibilitychange", this.listener);
  }

  tick() {
    const now = performance.now();
    if (this.since !== null) this.total += now - this.since;
    this.since = document.hidden ? null : now;
  }

  seconds() {
    this.tick();
    return Math.round(this.total) / 1000;
  }

  stop() {
    document.removeEventListener("visibilitychange", this.listener);
  }
}
