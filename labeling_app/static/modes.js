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
  board.restore(item.draft);
  return board;
}
