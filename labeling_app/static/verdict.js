// One choice about two responses: by how much A or B is better, or which of two policies wins.

import { Board } from "./board.js";

class VerdictBoard extends Board {
  leadKey = "your_verdict";
  hintKey = "nothing_chosen";
  noneKey = "both_bad";

  blank() {
    return { verdict: null, none: false };
  }

  fits(said) {
    const { verdict, none } = said;
    const within = Number.isInteger(verdict) && verdict >= 1 && verdict <= this.verdicts.length;
    return (verdict === null || within) && typeof none === "boolean";
  }

  get middle() {
    return (this.verdicts.length + 1) / 2;
  }

  choose(verdict) {
    if (verdict < 1 || verdict > this.verdicts.length || verdict === this.verdict) return null;
    if (verdict !== this.middle) this.picked = verdict < this.middle ? 0 : 1;
    this.change({ ...this.said, verdict });
    return [[this.verdicts[verdict - 1]], ["say_enter_submits"]];
  }

  clear() {
    if (this.verdict === null) return null;
    this.change({ ...this.said, verdict: null });
    return [["say_verdict_cleared"]];
  }

  key(key) {
    if (key === "t") return this.choose(this.middle);
    if (key === "arrowleft") return this.choose((this.verdict ?? this.middle) - 1);
    if (key === "arrowright") return this.choose((this.verdict ?? this.middle) + 1);
    return super.key(key);
  }

  /** The response chosen as better, or null. */
  better() {
    if (this.verdict === null || this.verdict === this.middle) return null;
    return this.ids[this.verdict < this.middle ? 0 : 1];
  }

  /** Which one is better; or both are bad, said alone: a tie then. */
  complete() {
    return this.verdict !== null || this.none;
  }

  lack() {
    return ["missing_verdict"];
  }

  summary() {
    const parts = this.verdict === null ? [] : [["group", this.verdicts[this.verdict - 1]]];
    if (this.none) parts.push(["none", this.noneKey]);
    if (!this.complete()) parts.push(["hint", this.hintKey]);
    return parts;
  }
}

const STRENGTHS = ["significantly", "better", "slightly", "same", "slightly", "better", "significantly"];

export class CompareBoard extends VerdictBoard {
  verdicts = [
    "verdict_a_significantly",
    "verdict_a_better",
    "verdict_a_slightly",
    "verdict_same",
    "verdict_b_slightly",
    "verdict_b_better",
    "verdict_b_significantly",
  ];

  /** A letter says which is better; the same letter again says it more strongly, in a circle. */
  letter(index) {
    if (index > 1) return null;
    const side = index === 0 ? [2, 1, 3] : [6, 7, 5]; // better, significantly, slightly
    return this.choose(side[(side.indexOf(this.verdict) + 1) % side.length]);
  }

  fill(answer) {
    const first = answer.better === this.ids[0];
    const from = STRENGTHS.indexOf(answer.strength) + 1;
    const verdict = answer.better === null || first ? from : STRENGTHS.length + 1 - from;
    this.said = { verdict, none: answer.both_bad };
  }

  answer() {
    const strength = STRENGTHS[(this.verdict ?? this.middle) - 1];
    return { better: this.better(), strength, both_bad: this.none };
  }
}

export class EvaluateBoard extends VerdictBoard {
  verdicts = ["verdict_a_better", "verdict_tie", "verdict_b_better"];

  letter(index) {
    if (index > 1) return null;
    return this.choose(index === 0 ? 1 : 3) ?? this.pick(index);
  }

  fill(answer) {
    const at = answer.better === null ? 2 : answer.better === this.ids[0] ? 1 : 3;
    this.said = { verdict: at, none: answer.both_bad };
  }

  answer() {
    return { better: this.better(), both_bad: this.none };
  }
}
