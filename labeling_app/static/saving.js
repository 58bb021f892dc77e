// Drafts, saved as they grow, and what is done while the server cannot be reached.

import { lastDraft } from "./api.js";

const PAUSE_MS = 1000; // without a change, before a draft is saved
const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30000;

/** Asks again by itself, ever more slowly, and at once when the browser is back on line. */
export class Patience {
  constructor() {
    this.calm();
    addEventListener("online", () => this.again && this.now());
  }

  calm() {
    this.pause();
    this.wait = FIRST_WAIT_MS;
  }

  pause() {
    clearTimeout(this.timer);
    this.again = null;
  }

  later(again) {
    clearTimeout(this.timer);
    this.again = again;
    this.timer = setTimeout(() => this.now(), this.wait);
    this.wait = Math.min(2 * this.wait, LONGEST_WAIT_MS);
  }

  now() {
    const { again } = this;
    this.pause();
    again?.();
  }
}

const ASK_FIRST = [401, 409]; // somebody has to sign in or to accept the guidelines first

/** The drafts that the server does not have yet; `kept` outlives the page. `show` is told of each
 * state: saving, saved, kept (here, while the server is lost), refused (with a reason). */
export class Drafts {
  constructor(send, show, kept) {
    this.send = send;
    this.show = show;
    this.kept = kept;
    this.waiting = new Map(); // item id -> what makes its draft
    this.patience = new Patience();
    this.sending = Promise.resolve();
    addEventListener("pagehide", () => this.leave());
    document.addEventListener("visibilitychange", () => document.hidden && this.flush());
  }

  touch(itemId, make) {
    this.waiting.set(itemId, make);
    this.kept.put(itemId, make());
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.flush(), PAUSE_MS);
  }

  /** The item with its newest draft: one that the server never got is sent now. */
  recover(item) {
    const draft = this.kept.newer(item.item_id, item.draft);
    if (draft === item.draft) return item;
    this.touch(item.item_id, () => draft);
    return { ...item, draft };
  }

  /** Sends no draft of an item that is being answered; resolves when none is under way any more. */
  async hold(itemId) {
    this.waiting.delete(itemId);
    await this.sending;
  }

  /** Forgets a draft whose item is answered. */
  drop(itemId) {
    this.waiting.delete(itemId);
    this.kept.drop(itemId);
  }

  flush() {
    clearTimeout(this.timer);
    this.sending = this.sending.then(() => this.sendAll());
    return this.sending;
  }

  async sendAll() {
    for (const [itemId, make] of [...this.waiting]) {
      if (this.waiting.get(itemId) !== make) continue;
      this.show("saving");
      try {
        await this.send(itemId, make());
        if (this.waiting.get(itemId) === make) this.drop(itemId);
        this.patience.calm();
        this.show("saved");
      } catch (error) {
        if (error.lost || ASK_FIRST.includes(error.status)) {
          this.patience.later(() => this.flush());
          this.show(error.status === 0 ? "kept" : "refused", error.message);
          return;
        }
        this.waiting.delete(itemId);
        this.show("refused", error.message);
      }
    }
  }

  /** The page goes away: what is not saved yet is handed to the browser. */
  leave() {
    for (const [itemId, make] of this.waiting) lastDraft(itemId, make());
  }

  get unsaved() {
    return this.waiting.size > 0;
  }
}
