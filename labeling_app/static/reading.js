// Reading comfort: raw texts, long texts that are folded, two texts word by word.

import { LETTERS } from "./board.js";
import { textDiff } from "./diff.js";
import { all, byId, element, find, format } from "./view.js";

const FOLDED_LINES = 24;
const SPARE_LINES = 3; // not worth folding away

export function toggleRaw(card, texts) {
  const raw = card.classList.toggle("is-raw");
  find("pre.raw", card).hidden = !raw;
  find('[data-action="raw"]', card).setAttribute("aria-pressed", raw);
  fold(card, texts);
}

/** Folds the cards of a bank whose texts are long; they have to be in view to be measured. */
export function foldAll(bank, texts) {
  all(`#bank-${bank} .card:not([hidden])`).forEach((card) => fold(card, texts));
  markWide();
}

/** Code wraps; a wide table or formula scrolls by itself, and so has to be reached by keyboard. */
function markWide() {
  for (const wide of all(".bank.in-view :is(.md table, .md .katex-display)"))
    if (wide.scrollWidth > wide.clientWidth) wide.tabIndex = 0;
}

/** Formulas are drawn later than the rest: looks again whenever something was. */
export function watchWide() {
  const drawn = new MutationObserver(() => requestAnimationFrame(markWide));
  for (const bank of all(".bank")) drawn.observe(bank, { childList: true, subtree: true });
}

function fold(card, texts) {
  const text = card.classList.contains("is-raw") ? find("pre.raw", card) : find(".md", card);
  const height = text.scrollHeight;
  const lines = Math.round(height / parseFloat(getComputedStyle(text).lineHeight));
  const long = lines > FOLDED_LINES + SPARE_LINES;
  card.classList.toggle("long", long);
  const button = find('[data-action="expand"]', card);
  const expanded = card.classList.contains("expanded");
  button.hidden = !long;
  button.setAttribute("aria-expanded", expanded);
  const words = expanded ? texts.fewer_lines : format(texts.more_lines, { lines });
  find(".label", button).textContent = words;
}

export function toggleFold(card, texts) {
  if (!card.classList.contains("long")) return;
  card.classList.toggle("expanded");
  fold(card, texts);
  card.scrollIntoView({ block: "nearest" });
}

/** Opens the dialog that shows two texts side by side, `index` on the left. */
export function openDiff(board, index, texts) {
  const sources = board.item.responses.map(({ text }, i) => [LETTERS[i], text]);
  if (board.editor) sources.push([texts.diff_mine, board.said.text]);
  if (sources.length < 2) return;
  const selects = [byId("diff-left"), byId("diff-right")];
  for (const select of selects)
    select.replaceChildren(
      ...sources.map(([name], i) => Object.assign(element("option", name), { value: i })),
    );
  selects[0].value = index;
  selects[1].value = (index + 1) % sources.length;
  const dialog = byId("diff-dialog");
  const draw = () => drawDiff(dialog, sources, selects, texts);
  for (const select of selects) select.onchange = draw;
  let turn = 0;
  dialog.onkeydown = (event) => {
    const picked = LETTERS.toLowerCase().indexOf(event.key.toLowerCase());
    if (event.target.matches("select") || picked < 0 || picked >= sources.length) return;
    selects[turn].value = picked;
    turn = 1 - turn;
    draw();
  };
  draw();
  dialog.showModal();
  find(".text", dialog).focus();
}

function drawDiff(dialog, sources, selects, texts) {
  const [left, right] = selects.map((select) => sources[Number(select.value)][1]);
  const { by, sides } = textDiff(left, right);
  const trouble = { words: "", sentences: texts.diff_sentences, nothing: texts.diff_too_large }[by];
  find(".trouble", dialog).textContent = left === right ? texts.diff_same : trouble;
  all(".text", dialog).forEach((place, side) => {
    const marks = sides[side].map(([text, changed]) =>
      changed ? element("mark", text) : document.createTextNode(text),
    );
    place.replaceChildren(...marks);
    place.scrollTop = 0;
  });
}
