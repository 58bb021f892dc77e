// Keys, clicks and fields, turned into what the page does: `page` holds the actions.

import { LETTERS } from "./board.js";
import * as panels from "./panels.js";
import { find } from "./view.js";

const KEYS = {
  u: "undo",
  s: "skip",
  w: "why",
  l: "flag",
  r: "raw",
  x: "expand",
  v: "diff",
  p: "problems",
  m: "mine",
  n: "guidelines",
  "?": "keys",
};
const TYPING = "textarea, select, input[type=text], [contenteditable=true]";
const PRESSABLE = "button, a, summary, select";

export function cardIndex(target) {
  const card = target.closest(".card");
  return card ? LETTERS.indexOf(card.id.at(-1)) : null;
}

export function listen(page) {
  document.addEventListener("keydown", (event) => keydown(event, page));
  document.addEventListener("click", (event) => click(event, page));
  document.addEventListener("change", (event) => change(event.target, page));
  document.addEventListener("input", (event) => input(event.target, page));
}

function change(target, page) {
  if (!page.ready()) return;
  const index = cardIndex(target);
  if (target.matches(".verdicts input")) page.did(page.board.choose(Number(target.value)));
  else if (index === null) return;
  else if (target.matches(".ranks input")) page.put(index, Number(target.value));
  else if (target.matches(".flags input"))
    page.did(page.board.mark(index, target.value, target.checked));
}

function input(target, page) {
  if (!page.ready()) return;
  if (target.id === "rationale") page.explain(target.value);
  else if (target.closest(".editor")) page.did(page.board.write(target.value));
}

function click(event, page) {
  if (event.target.closest(".ranks, .verdicts, .flags")) return; // the change says it all
  const button = event.target.closest("button[data-action]");
  const index = cardIndex(event.target);
  if (button?.dataset.action !== "menu") panels.menu(false);
  if (!button) {
    if (index !== null && page.ready() && !getSelection().toString()) page.pick(index);
    return;
  }
  page.act(button.dataset.action, index);
  // After a click with the mouse the keys go back to the cards, so that Enter submits.
  if (event.detail > 0) page.refocus();
}

function keydown(event, page) {
  if (event.isComposing) return;
  const key = event.key.toLowerCase();
  const control = event.ctrlKey || event.metaKey;
  if (find("dialog[open]")) return;
  if (key === "enter" && control) page.act("submit");
  else if (control || event.altKey) return;
  else if (key === "escape") {
    if (panels.closeAll()) page.refocus();
    else if (!leaveField(event.target, page)) page.escape();
    return;
  } else if (event.target.closest(TYPING) || !panels.singleKeys()) return;
  else if (key === "enter") {
    if (event.target.closest(PRESSABLE) || event.repeat) return;
    page.act("submit");
  } else if (key.startsWith("arrow") && event.target.matches("input")) return;
  else if (key in KEYS) {
    if (!event.repeat) page.act(KEYS[key]);
  } else if (!page.ready() || !page.did(page.board.key(key), true)) return;
  event.preventDefault();
}

/** Out of a text field, so that single keys work again. */
function leaveField(target, page) {
  if (!target.closest(TYPING)) return false;
  target.blur();
  if (!page.board?.editor) page.refocus();
  return true;
}
