// The board of each mode. A campaign's mode and its items' say which is used.

import { DemonstrateBoard } from "./demonstrate.js";
import { RankBoard, RateBoard, ReviewBoard } from "./rank.js";
import { CompareBoard, EvaluateBoard } from "./verdict.js";

const BOARDS = {
  rank: RankBoard,
  compare: CompareBoard,
  rate: RateBoard,
  demonstrate: DemonstrateBoard,
  evaluate: EvaluateBoard,
  review: ReviewBoard,
};

export function boardFor(item) {
  const board = new BOARDS[item.mode](item);
  if (item.answer) board.fill(item.answer);
  if (item.rationale) board.rationale = item.rationale;
  board.settle();
  const answered = { said: board.said, rationale: board.rationale, picked: 0 };
  board.restore(item.draft);
  if (item.answer && board.touched()) board.past.push(answered); // a change that was not saved
  return board;
}
