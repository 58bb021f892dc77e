// A text that the labeler writes, from nothing or from the response that is there.

import { Board, wellFormed } from "./board.js";

const MAX_PAST = 200;

export class DemonstrateBoard extends Board {
  leadKey = "your_answer";
  hintKey = "nothing_written";
  noneKey = null;
  editor = true;

  blank() {
    return { text: this.item.responses[0]?.text ?? "" };
  }

  fits(said) {
    return typeof said.text === "string";
  }

  write(text) {
    if (text === this.said.text) return null;
    this.change({ text });
    if (this.past.length > MAX_PAST) this.past.shift();
    return [];
  }

  complete() {
    return this.said.text.trim() !== "";
  }

  lack() {
    return ["missing_text"];
  }

  summary() {
    const words = this.said.text.split(/\s+/).filter(Boolean).length;
    if (words === 0) return [["hint", this.hintKey]];
    return [["group", "words_written", { words }]];
  }

  fill(answer) {
    this.said = { text: answer.text };
  }

  answer() {
    return { text: wellFormed(this.said.text) };
  }
}
