// Numbers on the cards: ranks with ties, ratings with flags, and the review of what labelers said.

import { Board, LETTERS, areNumbers } from "./board.js";

/** The responses by the number that they were given, best first; ties share a group. */
class NumberedBoard extends Board {
  blank() {
    return { numbers: this.ids.map(() => null), none: false };
  }

  fits(said) {
    return areNumbers(said.numbers, this.ids.length, this.top) && typeof said.none === "boolean";
  }

  number(index) {
    return this.said.numbers[index];
  }

  put(index, number, advance) {
    if (number < 1 || number > this.top || index >= this.ids.length) return null;
    this.picked = index;
    if (this.number(index) !== number) {
      const numbers = this.said.numbers.with?.(index, number) ?? this.said.numbers.slice();
      numbers[index] = number;
      this.change({ ...this.said, numbers });
    }
    const said = [[this.putKey, { letter: LETTERS[index], number }], ...this.tiesSaid(index)];
    if (advance && this.pickNextMissing())
      said.push(["say_picked", { letter: LETTERS[this.picked] }]);
    if (this.missing().length === 0) said.push([this.allKey]);
    return said;
  }

  tiesSaid(_index) {
    return [];
  }

  clear(index) {
    if (this.number(index) === null) return null;
    const numbers = this.said.numbers.slice();
    numbers[index] = null;
    this.change({ ...this.said, numbers });
    return [["say_cleared", { letter: LETTERS[index] }]];
  }

  /** Goes to the first response after the picked one, in a circle, that has no number yet. */
  pickNextMissing() {
    for (let step = 1; step < this.ids.length; step += 1) {
      const index = (this.picked + step) % this.ids.length;
      if (this.number(index) === null) return this.pick(index) !== null;
    }
    return false;
  }

  missing() {
    return [...this.letters].filter((_, index) => this.number(index) === null);
  }

  /** Letters by tie group, best first. */
  groups() {
    const levels = [...new Set(this.said.numbers.filter((number) => number !== null))];
    levels.sort((a, b) => (this.backward ? b - a : a - b));
    return levels.map((level) => [...this.letters].filter((_, i) => this.number(i) === level));
  }

  byId() {
    return Object.fromEntries(
      this.ids.flatMap((id, i) => (this.number(i) === null ? [] : [[id, this.number(i)]])),
    );
  }

  from(numbers) {
    return this.ids.map((id) => numbers[id] ?? null);
  }

  complete() {
    return this.missing().length === 0;
  }

  lack() {
    return [this.lackKey, { letters: this.missing().join(", ") }];
  }

  summary() {
    const parts = this.groups().map((group) => ["group", group.join(" = ")]);
    if (this.none) parts.push(["none", this.noneKey]);
    const missing = this.missing();
    if (missing.length === this.ids.length && !this.none) parts.push(["hint", this.hintKey]);
    else if (!this.complete())
      parts.push(["hint", this.stillKey, { letters: missing.join(", ") }]);
    return parts;
  }
}

export class RankBoard extends NumberedBoard {
  putKey = "say_ranked";
  allKey = "say_all_ranked";
  stillKey = "still_to_rank";

  get top() {
    return this.ids.length;
  }

  tiedWith(index) {
    const rank = this.number(index);
    return [...this.letters].filter(
      (_, i) => i !== index && rank !== null && this.number(i) === rank,
    );
  }

  note(index) {
    const letters = this.tiedWith(index).join(", ");
    return letters ? ["tied_with", { letters }] : null;
  }

  tiesSaid(index) {
    const letters = this.tiedWith(index).join(", ");
    return letters ? [["say_tied", { letters }]] : [];
  }

  /** All ranked; or none acceptable, said without an order. */
  complete() {
    const missing = this.missing().length;
    return missing === 0 || (this.none && missing === this.ids.length);
  }

  lack() {
    const letters = this.missing().join(", ");
    return [this.none ? "missing_with_none" : "missing", { letters }];
  }

  fill(answer) {
    this.said = { numbers: this.from(answer.ranks), none: answer.none_acceptable };
  }

  answer() {
    return { ranks: this.byId(), none_acceptable: this.none };
  }
}

/** A reviewer sees how the labelers ordered, as letters, and orders anew. */
export class ReviewBoard extends RankBoard {
  votes() {
    const letter = (id) => LETTERS[this.ids.indexOf(id)] ?? "?";
    return this.item.votes.map(({ groups, none, rationale }) => ({
      order: groups.map((group) => group.map(letter).sort().join(" = ")).join(" > "),
      none,
      rationale,
    }));
  }
}

const WORST_TO_BEST = 7;

export class RateBoard extends NumberedBoard {
  leadKey = "best_first";
  hintKey = "nothing_rated";
  noneKey = null;
  numberKey = "rating_value";
  numbersKey = "rating_of";
  putKey = "say_rated";
  allKey = "say_all_rated";
  stillKey = "still_to_rate";
  lackKey = "missing_rating";
  backward = true;
  // The categorical questions of InstructGPT's form.
  flags = [
    "fails_instruction",
    "inappropriate",
    "hallucination",
    "ignores_constraint",
    "sexual",
    "violent",
    "encourages_harm",
    "denigrates",
    "harmful_advice",
    "expresses_opinion",
    "moral_judgement",
  ];

  get top() {
    return WORST_TO_BEST;
  }

  blank() {
    return { ...super.blank(), flags: this.ids.map(() => []) };
  }

  fits(said) {
    const known = (names) => Array.isArray(names) && names.every((one) => this.flags.includes(one));
    const marked = Array.isArray(said.flags) && said.flags.every(known);
    return super.fits(said) && marked && said.flags.length === this.ids.length;
  }

  marked(index) {
    return this.said.flags[index];
  }

  mark(index, flag, on) {
    const flags = this.said.flags.slice();
    flags[index] = this.flags.filter((one) => (one === flag ? on : flags[index].includes(one)));
    this.change({ ...this.said, flags });
    this.picked = index;
    return [[on ? "say_marked" : "say_unmarked", { what: `flag_${flag}` }]];
  }

  fill(answer) {
    const flags = this.ids.map((id) => answer.flags[id] ?? []);
    this.said = { numbers: this.from(answer.ratings), none: false, flags };
  }

  answer() {
    const flags = this.ids.flatMap((id, i) => (this.marked(i).length ? [[id, this.marked(i)]] : []));
    return { ratings: this.byId(), flags: Object.fromEntries(flags) };
  }
}
