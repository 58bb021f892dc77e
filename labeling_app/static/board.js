// What a labeler has said about one item, and its history. No document here: the page draws what a
// board knows. There is one class for each mode; each says, with the names that are here, what can
// be put (`put`, `choose`, `mark`, `write`, `toggleNone`), when an answer is whole (`complete`),
// what it is on the wire (`answer`), and how it reads (`summary`).
//
// `said` is the answer so far, never changed in place. What changes it returns what is to be said
// aloud, a list of [text key, values]; null where nothing changed.

export const LETTERS = "ABCDEFGHI";

export class Board {
  leadKey = "best_first"; // before the summary
  hintKey = "nothing_ranked";
  noneKey = "none_acceptable"; // the verdict that all are bad; null where there is none
  numberKey = "rank_value"; // what a number on a card means
  numbersKey = "rank_of";
  verdicts = []; // text keys of the choices about all responses at once, 1 for the first
  flags = []; // names of what can be wrong with a response
  editor = false;
  backward = false; // whether the highest number is the best

  constructor(item) {
    this.item = item;
    this.ids = item.responses.map((response) => response.id);
    this.picked = 0;
    this.past = [];
    this.submission = null;
    this.rationale = "";
    this.said = this.blank();
    this.settle();
  }

  get letters() {
    return LETTERS.slice(0, this.ids.length);
  }

  /** How many numbers stand on each card. */
  get top() {
    return 0;
  }

  /** The number of a card, or null. */
  number(_index) {
    return null;
  }

  note(_index) {
    return null; // [text key, values], shown on the card
  }

  get none() {
    return this.said.none ?? false;
  }

  get verdict() {
    return this.said.verdict ?? null;
  }

  change(said) {
    this.past.push({ said: this.said, picked: this.picked });
    this.said = said;
    this.submission = null; // a changed answer is another submission, even after a failed save
  }

  explain(rationale) {
    this.rationale = rationale;
    this.submission = null;
  }

  undo() {
    const before = this.past.pop();
    if (!before) return null;
    Object.assign(this, before, { submission: null });
    return [["say_undone"]];
  }

  pick(index) {
    if (index < 0 || index >= this.ids.length) return null;
    this.picked = index;
    return [["say_picked", { letter: LETTERS[index] }]];
  }

  put() {
    return null;
  }

  choose() {
    return null;
  }

  mark() {
    return null;
  }

  write() {
    return null;
  }

  clear() {
    return null;
  }

  toggleNone() {
    if (!this.noneKey) return null;
    this.change({ ...this.said, none: !this.none });
    return [[this.none ? "say_marked" : "say_unmarked", { what: this.noneKey }]];
  }

  /** What a key of this mode does; null where it means nothing here. */
  key(key) {
    const index = LETTERS.toLowerCase().indexOf(key);
    if (key.length === 1 && index >= 0) return this.letter(index);
    if (/^[1-9]$/.test(key)) return this.digit(Number(key));
    if (key === "0") return this.toggleNone();
    if (key === "backspace") return this.clear(this.picked);
    return null;
  }

  letter(index) {
    return this.pick(index);
  }

  digit(number) {
    return this.verdicts.length > 0 ? this.choose(number) : this.put(this.picked, number, true);
  }

  /** From here on, what is there counts as unchanged. */
  settle() {
    this.fresh = JSON.stringify([this.said, this.rationale]);
  }

  touched() {
    return JSON.stringify([this.said, this.rationale]) !== this.fresh;
  }

  /** What is kept while the answer is being made, and `restore` takes back on any machine. */
  draft(seconds) {
    return { said: this.said, rationale: this.rationale, seconds, at: Date.now() };
  }

  restore(draft) {
    if (typeof draft?.rationale === "string") this.rationale = draft.rationale;
    if (draft?.said && this.fits(draft.said)) this.said = draft.said;
  }

  /** The answer to send; the same until it is changed, so that sending it again saves it once. */
  sent(seconds) {
    this.submission ??= {
      submission_id: crypto.randomUUID?.() ?? uuid(),
      item_id: this.item.item_id,
      answer: this.answer(),
      rationale: wellFormed(this.rationale),
      duration_seconds: seconds,
    };
    return this.submission;
  }
}

/** A random UUID; browsers keep `randomUUID` from pages that come without TLS. */
function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, "$1-$2-$3-$4-$5");
}

/** Half a surrogate pair, which UTF-8 cannot hold, becomes the replacement character. */
export const wellFormed = (text) => text.toWellFormed?.() ?? text;

/** Whether `values` has one entry for each response, each null or from 1 to `top`. */
export function areNumbers(values, count, top) {
  const fits = (one) => one === null || (Number.isInteger(one) && one >= 1 && one <= top);
  return Array.isArray(values) && values.length === count && values.every(fits);
}
