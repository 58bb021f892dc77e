// Drawing: the state of the board onto the page. Texts are written as text, never as markup.

import { LETTERS } from "./board.js";

export const TURN_SLOTS = document.querySelectorAll('#bank-0 [id^="turn-0-"]').length;
export const byId = (id) => document.getElementById(id);
export const find = (selector, within = document) => within.querySelector(selector);

export function format(text, values = {}) {
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

const card = (bank, letter) => byId(`card-${bank}-${letter}`);

/** What the Markdown slots of a bank hold for an item: its latest turns, then its responses. */
export function slotTexts(item) {
  const texts = Array(TURN_SLOTS + LETTERS.length).fill("");
  if (!item) return texts;
  item.turns.slice(-TURN_SLOTS).forEach((turn, i) => (texts[i] = turn.markdown));
  item.responses.forEach((response, i) => (texts[TURN_SLOTS + i] = response.markdown));
  return texts;
}

/** Readies a bank for an item: which slots are used, by whom each turn is, the raw texts. */
export function prepareBank(bank, item, texts) {
  const turns = item.turns.slice(-TURN_SLOTS);
  for (let i = 0; i < TURN_SLOTS; i += 1) {
    const slot = byId(`turn-${bank}-${i}`);
    slot.hidden = i >= turns.length;
    slot.dataset.role = turns[i]?.role ?? "";
    slot.dataset.speaker = turns[i] ? texts[`role_${turns[i].role}`] : "";
    slot.dataset.last = i === turns.length - 1;
  }
  const earlier = item.turns.slice(0, -TURN_SLOTS);
  const plain = find("pre", byId(`earlier-${bank}`));
  plain.hidden = earlier.length === 0;
  plain.textContent = [
    texts.earlier_turns,
    ...earlier.map((turn) => `${texts[`role_${turn.role}`]}: ${turn.text}`),
  ].join("\n\n");
  [...LETTERS].forEach((letter, i) => prepareCard(bank, letter, item.responses, i, texts));
}

function prepareCard(bank, letter, responses, index, texts) {
  const element = card(bank, letter);
  element.hidden = index >= responses.length;
  element.tabIndex = -1;
  element.setAttribute("role", "group");
  element.setAttribute("aria-label", format(texts.response, { letter }));
  find("pre.raw", element).textContent = responses[index]?.text ?? "";
  showRaw(element, false);
  element.querySelectorAll(".ranks label").forEach((label, i) => {
    label.hidden = i >= responses.length;
  });
}

export function showRaw(element, raw) {
  element.classList.toggle("is-raw", raw);
  find("pre.raw", element).hidden = !raw;
  find('[data-action="raw"]', element).setAttribute("aria-pressed", raw);
}

export function showBank(bank) {
  for (const each of [0, 1]) byId(`bank-${each}`).classList.toggle("in-view", each === bank);
  byId("end").classList.add("away");
  document.body.classList.add("ranking");
  const conversation = byId(`conversation-${bank}`);
  conversation.tabIndex = 0;
  conversation.setAttribute("role", "region");
  window.scrollTo({ top: 0 });
  scrollToLastTurn(conversation);
}

/** The last turn is what the responses answer: it is in sight first. */
function scrollToLastTurn(conversation) {
  const last = find('[data-last="true"]', conversation);
  if (!last) return;
  const top = last.getBoundingClientRect().top - conversation.getBoundingClientRect().top;
  conversation.scrollTop += top - 10;
}

/** Keeps the heights of what stays in sight in CSS variables, for what sticks below it. */
export function measure() {
  const properties = { header: "--header-height", dock: "--dock-height" };
  properties["conversation-0"] = properties["conversation-1"] = "--prompt-height";
  const heights = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const { height } = target.getBoundingClientRect();
      if (height > 0)
        document.documentElement.style.setProperty(properties[target.id], `${height}px`);
    }
  });
  Object.keys(properties).forEach((id) => heights.observe(byId(id)));
  const turns = new ResizeObserver((entries) => {
    for (const { target } of entries) scrollToLastTurn(target.closest(".conversation"));
  });
  document.querySelectorAll('[id^="turn-"]').forEach((turn) => turns.observe(turn));
}

export function drawBoard(bank, board, texts) {
  [...board.letters].forEach((letter, index) => drawCard(bank, letter, board, index, texts));
  drawOrder(board, texts);
  find('[data-action="none"]').setAttribute("aria-pressed", board.none);
  find('[data-action="submit"]').setAttribute("aria-disabled", !board.complete());
  find('[data-action="undo"]').setAttribute("aria-disabled", board.past.length === 0);
}

function drawCard(bank, letter, board, index, texts) {
  const element = card(bank, letter);
  const rank = board.ranks[index];
  element.classList.toggle("picked", index === board.picked);
  element.classList.toggle("ranked", rank !== null);
  element.querySelectorAll("input").forEach((input) => {
    input.checked = Number(input.value) === rank;
  });
  const letters = board.tiedWith(index).join(", ");
  find(".tie", element).textContent = letters && format(texts.tied_with, { letters });
  find('[data-action="clear"]', element).hidden = rank === null;
}

function drawOrder(board, texts) {
  const place = find("#dock .groups");
  place.replaceChildren();
  const add = (className, text) => {
    const span = document.createElement("span");
    span.className = className;
    span.textContent = text;
    place.append(span, " ");
  };
  board.groups().forEach((group, i) => {
    if (i > 0) add("over", ">");
    add("group", group.join(" = "));
  });
  if (board.none) add("none", texts.none_acceptable);
  const missing = board.unranked();
  if (missing.length === board.ids.length && !board.none) add("hint", texts.nothing_ranked);
  else if (!board.complete())
    add("hint", format(texts.still_to_rank, { letters: missing.join(", ") }));
}

export function drawProgress(progress, texts) {
  const mine = format(texts.progress_mine, progress);
  const all = format(texts.progress, progress);
  find("#header .progress-text").textContent = `${all} · ${mine}`;
  const bar = find("#header progress");
  bar.max = Math.max(1, progress.wanted);
  bar.value = Math.min(progress.done, progress.wanted);
}

export function drawEnd(progress, nextStep, texts) {
  for (const bank of [0, 1]) byId(`bank-${bank}`).classList.remove("in-view");
  document.body.classList.remove("ranking");
  const end = byId("end");
  end.classList.remove("away");
  find(".waiting", end).hidden = true;
  find(".over", end).hidden = false;
  const mine =
    progress.mine === 0 ? "end_mine_none" : progress.mine === 1 ? "end_mine_one" : "end_mine";
  find(".mine", end).textContent = format(texts[mine], progress);
  const open = progress.wanted - progress.done;
  const state = progress.wanted === 0 ? "end_empty" : open > 0 ? "end_open" : "end_complete";
  find(".open", end).textContent = format(texts[state], { ...progress, open });
  find(".next", end).hidden = !nextStep;
  find(".next pre", end).textContent = nextStep;
  find("h2", end).focus();
}

export function showFailure(text) {
  const failure = find("#dock .failure");
  failure.hidden = text === null;
  find("span", failure).textContent = text ?? "";
}

export function say(...sentences) {
  find("#dock .live").textContent = sentences.filter(Boolean).join(" ");
}

export function focusCard(bank, letter) {
  const element = card(bank, letter);
  element.focus({ preventScroll: true });
  element.scrollIntoView({ block: "nearest" });
}
