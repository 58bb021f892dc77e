// The ranking page at work: keys and clicks change the board, the board is drawn and saved, and
// the next item waits, rendered, in the bank of slots that is out of view.

import * as api from "./api.js";
import { Board, LETTERS, Stopwatch } from "./board.js";
import * as view from "./view.js";

const { byId, find, format } = view;
const held = [null, null]; // the item in each bank
let texts, routes, nextStep, fill;
let board = null;
let bank = 0;
let watch = null;
let ahead = null; // the reply that holds the next item, promised
let busy = false;
let retry = null;
let justDone = ""; // said together with what comes next

/** Called by Gradio once the blocks are there; `trigger` runs the events of the bridge. */
export async function start(trigger) {
  fill = filler(trigger);
  const facts = await campaignFacts();
  ({ texts, next_step: nextStep } = facts);
  routes = api.routes(texts);
  find("#header .campaign").textContent = facts.name;
  document.title = `${facts.name} · ${texts.title}`;
  for (const each of [0, 1])
    byId(`conversation-${each}`).setAttribute("aria-label", texts.conversation);
  view.measure();
  listen();
  await goOn();
}

async function campaignFacts() {
  for (;;) {
    try {
      return await api.campaign();
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

/** Puts the texts of both banks into their slots; resolves when they are drawn. */
function filler(trigger) {
  let wanted = 0;
  let taken = 0;
  let drawn = null;
  window.rankingTexts = () => {
    taken = wanted;
    return held.flatMap((item) => view.slotTexts(item));
  };
  window.rankingTextsShown = () => taken === wanted && drawn?.();
  const once = () =>
    new Promise((resolve) => {
      wanted += 1;
      // What is triggered while Gradio still mounts its blocks can be lost: ask again.
      const again = setInterval(() => trigger("change"), 1000);
      drawn = () => {
        clearInterval(again);
        requestAnimationFrame(() => requestAnimationFrame(resolve));
      };
      trigger("change");
    });
  let last = Promise.resolve();
  return () => (last = last.then(once));
}

async function load(into, reply) {
  if (reply.item) {
    held[into] = reply.item;
    view.prepareBank(into, reply.item, texts);
    await fill();
  }
  return reply;
}

function prefetch() {
  const other = 1 - bank;
  ahead = routes.next(board.item.item_id).then((reply) => load(other, reply)).catch(() => null);
}

/** Shows the next item: the one that waits, or one asked for now; the end where there is none. */
async function goOn() {
  retry = null;
  try {
    let reply = await ahead;
    ahead = null;
    if (!reply?.item) {
      reply = await load(1 - bank, await routes.next(null));
      view.drawProgress(reply.progress, texts);
    }
    view.showFailure(null);
    watch?.stop();
    if (reply.item) return show(reply.item);
    board = null;
    view.drawEnd(reply.progress, nextStep, texts);
  } catch (error) {
    fail("not_loaded", error, goOn);
  }
}

function show(item) {
  bank = 1 - bank;
  board = new Board(item);
  view.showBank(bank);
  draw();
  view.focusCard(bank, "A");
  window.scrollTo({ top: 0 });
  view.say(justDone, format(texts.say_next, { count: item.responses.length }));
  watch = new Stopwatch();
  prefetch();
}

function draw() {
  view.drawBoard(bank, board, texts);
}

function say(key, values) {
  view.say(format(texts[key], values));
}

function fail(key, error, again) {
  retry = again;
  view.showFailure(format(texts[key], { reason: error.message }));
}

// Saving

async function send(action, done) {
  if (busy || !board) return;
  busy = true;
  document.body.classList.add("saving");
  try {
    const reply = await action();
    view.showFailure(null);
    view.drawProgress(reply.progress, texts);
    justDone = done;
    board = null; // saved: nothing that could be lost
    await goOn();
  } catch (error) {
    fail("not_saved", error, () => send(action, done));
  } finally {
    busy = false;
    document.body.classList.remove("saving");
  }
}

function submit() {
  if (board.complete()) {
    send(() => routes.submit(board.answer(watch.seconds())), texts.say_saved);
  } else {
    const key = board.none ? "missing_with_none" : "missing";
    say(key, { letters: board.unranked().join(", ") });
    find("#dock").classList.add("nudge");
    setTimeout(() => find("#dock").classList.remove("nudge"), 400);
  }
}

function askToSkip() {
  const dialog = byId("skip-dialog");
  find("form", dialog).reset();
  dialog.returnValue = "";
  dialog.showModal();
}

function skipDialogClosed() {
  const dialog = byId("skip-dialog");
  if (dialog.returnValue !== "skip") return;
  const chosen = find("input:checked", dialog)?.value;
  const reason = [chosen, find("textarea", dialog).value.trim()].filter(Boolean).join(": ");
  const { item_id } = board.item;
  send(() => routes.skip(item_id, reason), texts.say_skipped);
}

// Ranking

function pick(index) {
  if (!board.pick(index)) return;
  draw();
  view.focusCard(bank, LETTERS[index]);
  say("say_picked", { letter: LETTERS[index] });
}

function rank(index, value, { advance }) {
  if (value > board.ids.length) return;
  board.pick(index);
  board.rank(index, value);
  const tied = board.tiedWith(index);
  const sentences = [
    format(texts.say_ranked, { letter: LETTERS[index], rank: value }),
    tied.length > 0 && format(texts.say_tied, { letters: tied.join(", ") }),
  ];
  if (advance && board.pickNextUnranked()) {
    view.focusCard(bank, LETTERS[board.picked]);
    sentences.push(format(texts.say_picked, { letter: LETTERS[board.picked] }));
  }
  if (board.unranked().length === 0) sentences.push(texts.say_all_ranked);
  draw();
  view.say(...sentences);
}

function clear(index) {
  if (!board.clear(index)) return;
  draw();
  say("say_cleared", { letter: LETTERS[index] });
}

function toggleNone() {
  board.toggleNone();
  draw();
  say(board.none ? "say_none_on" : "say_none_off");
}

function undo() {
  if (!board.undo()) return say("say_nothing_to_undo");
  draw();
  view.focusCard(bank, LETTERS[board.picked]);
  say("say_undone");
}

function toggleRaw(index) {
  const card = byId(`card-${bank}-${LETTERS[index]}`);
  view.showRaw(card, !card.classList.contains("is-raw"));
}

function toggleGuidelines() {
  const open = document.body.classList.toggle("with-guidelines");
  find('#header [data-action="guidelines"]').setAttribute("aria-expanded", open);
}

// Keys and clicks

const onItem = { none: toggleNone, skip: askToSkip, undo, submit };
const always = {
  guidelines: toggleGuidelines,
  keys: () => byId("keys-dialog").showModal(),
  "close-dialog": () => find("dialog[open]").close(),
  retry: () => retry?.(),
  again: goOn,
};
const onCard = { raw: toggleRaw, clear };
const keys = { 0: toggleNone, u: undo, s: askToSkip, enter: submit };

function listen() {
  document.addEventListener("keydown", keydown);
  document.addEventListener("click", click);
  document.addEventListener("change", (event) => {
    const index = cardIndex(event.target);
    if (index !== null && event.target.matches(".ranks input") && ready())
      rank(index, Number(event.target.value), { advance: false });
  });
  byId("skip-dialog").addEventListener("close", skipDialogClosed);
  window.addEventListener("beforeunload", (event) => board?.touched() && event.preventDefault());
}

const ready = () => board !== null && !busy;

function cardIndex(target) {
  const element = target.closest(".card");
  return element ? LETTERS.indexOf(element.id.at(-1)) : null;
}

function click(event) {
  if (event.target.closest(".ranks")) return; // the change of the radio says it all
  const button = event.target.closest("button[data-action]");
  const index = cardIndex(event.target);
  if (!button) {
    if (index !== null && ready() && !getSelection().toString()) {
      board.pick(index);
      draw();
    }
    return;
  }
  const action = button.dataset.action;
  if (action in always) always[action]();
  else if (ready()) {
    if (index === null) onItem[action]();
    else onCard[action](index);
    // After a click with the mouse the keys go back to the cards, so that Enter submits.
    if (event.detail > 0 && ready() && !find("dialog[open]"))
      byId(`card-${bank}-${LETTERS[board.picked]}`).focus({ preventScroll: true });
  }
}

function keydown(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (find("dialog[open]") || event.target.closest("textarea, [contenteditable=true]")) return;
  const key = event.key.toLowerCase();
  if (key === "?") always.keys();
  else if (key === "escape" && document.body.classList.contains("with-guidelines"))
    toggleGuidelines();
  else if (key === "enter" && event.target.closest("button, a, summary")) return;
  else if (!ready() || !itemKey(key, event.repeat)) return;
  event.preventDefault();
}

/** Whether the key meant something for the item in view. */
function itemKey(key, repeated) {
  const index = LETTERS.toLowerCase().indexOf(key);
  if (key.length === 1 && index >= 0 && index < board.ids.length) pick(index);
  else if (/^[1-9]$/.test(key)) rank(board.picked, Number(key), { advance: true });
  else if (key === "backspace") clear(board.picked);
  else if (key === "r") toggleRaw(board.picked);
  else if (!(key in keys)) return false;
  else if (!repeated) keys[key]();
  return true;
}
