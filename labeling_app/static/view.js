// Drawing: the state of the board onto the page. Texts are written as text, never as markup.

import { LETTERS } from "./board.js";

export const TURN_SLOTS = document.querySelectorAll('#bank-0 [id^="turn-0-"]').length;
export const byId = (id) => document.getElementById(id);
export const find = (selector, within = document) => within.querySelector(selector);
export const all = (selector, within = document) => [...within.querySelectorAll(selector)];
export const card = (bank, letter) => byId(`card-${bank}-${letter}`);

export function format(text, values = {}) {
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

/** A new element that holds a text. */
export function element(name, text, className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
}

export function label(action, text) {
  for (const button of all(`[data-action="${action}"]`)) find(".label", button).textContent = text;
}

/** What the Markdown slots of a bank hold for an item: its latest turns, then its responses. */
export function slotTexts(item) {
  const texts = Array(TURN_SLOTS + LETTERS.length).fill("");
  if (!item) return texts;
  item.turns.slice(-TURN_SLOTS).forEach((turn, i) => (texts[i] = turn.markdown));
  item.responses.forEach((response, i) => (texts[TURN_SLOTS + i] = response.markdown));
  return texts;
}

/** Readies a bank for an item: which slots are used, by whom each turn is, the raw texts. */
export function prepareBank(bank, board, texts) {
  const { item } = board;
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
  [...LETTERS].forEach((letter, index) => prepareCard(bank, letter, board, index, texts));
  byId(`editor-${bank}`).hidden = !board.editor;
  find(".cards", byId(`bank-${bank}`)).dataset.count = item.responses.length;
  prepareVotes(byId(`votes-${bank}`), board.votes?.(), texts);
}

function prepareCard(bank, letter, board, index, texts) {
  const shown = card(bank, letter);
  const { responses } = board.item;
  shown.hidden = index >= responses.length;
  shown.tabIndex = -1;
  shown.setAttribute("role", "group");
  shown.setAttribute("aria-label", format(texts.response, { letter }));
  shown.classList.remove("is-raw", "long", "expanded");
  find("pre.raw", shown).hidden = true;
  find("pre.raw", shown).textContent = responses[index]?.text ?? "";
  find('[data-action="raw"]', shown).setAttribute("aria-pressed", false);
  find('[data-action="diff"]', shown).hidden = responses.length < 2 && !board.editor;
  find(".ranks", shown).setAttribute("aria-label", format(texts[board.numbersKey], { letter }));
  find(".ranks", shown).hidden = board.top === 0;
  find(".ranks", shown).dataset.top = board.top;
  all(".ranks label", shown).forEach((each, i) => {
    each.hidden = i >= board.top;
    find("input", each).setAttribute("aria-label", format(texts[board.numberKey], { number: i + 1 }));
  });
  find(".flags", shown).hidden = board.flags.length === 0;
  find(".flags", shown).open = false;
}

function prepareVotes(place, votes, texts) {
  place.hidden = !votes;
  const rows = (votes ?? []).map(({ order, none, rationale }) => {
    const said = order && none ? format(texts.vote_none_too, { order }) : order;
    const row = element("li", said || texts.vote_none);
    if (rationale) row.append(element("p", format(texts.vote_why, { rationale })));
    return row;
  });
  find("ol", place).replaceChildren(...rows);
}

export function showBank(bank, board, texts) {
  for (const each of [0, 1]) byId(`bank-${each}`).classList.toggle("in-view", each === bank);
  byId("end").classList.add("away");
  document.body.classList.add("ranking");
  const conversation = byId(`conversation-${bank}`);
  conversation.tabIndex = 0;
  conversation.setAttribute("role", "region");
  prepareDock(board, texts);
  window.scrollTo({ top: 0 });
  scrollToLastTurn(conversation);
}

function prepareDock(board, texts) {
  find("#dock .lead").textContent = texts[board.leadKey];
  find('#dock [data-action="none"]').hidden = !board.noneKey;
  if (board.noneKey) label("none", texts[board.noneKey]);
  const place = find("#dock .verdicts");
  place.hidden = board.verdicts.length === 0;
  const choices = board.verdicts.map((key, i) => {
    const choice = document.createElement("label");
    const input = Object.assign(document.createElement("input"), { type: "radio", value: i + 1 });
    input.name = "verdict";
    const face = document.createElement("span");
    face.append(element("b", String(i + 1)), element("i", texts[key]));
    choice.append(input, face);
    return choice;
  });
  place.replaceChildren(...choices);
  place.dataset.count = choices.length;
  const [first, middle, last] = [0, (choices.length - 1) / 2, choices.length - 1];
  const ends = element("div", "", "ends"); // where the width has no room for all the words
  ends.setAttribute("aria-hidden", true);
  ends.append(...[first, middle, last].map((i) => element("span", texts[board.verdicts[i]] ?? "")));
  place.append(ends);
  drawRationale(board, false);
}

/** Opens the rationale box or closes it; it stays open where something is written in it. */
export function drawRationale(board, open) {
  const box = find("#dock .rationale");
  byId("rationale").value = board.rationale;
  box.hidden = !open && board.rationale === "";
  find('[data-action="why"]').setAttribute("aria-expanded", !box.hidden);
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
  all('[id^="turn-"]').forEach((turn) => turns.observe(turn));
}

export function drawBoard(bank, board, texts) {
  [...board.letters].forEach((letter, index) => drawCard(bank, letter, board, index, texts));
  drawSummary(board, texts);
  all("#dock .verdicts input").forEach((input) => {
    input.checked = Number(input.value) === board.verdict;
  });
  if (board.editor) {
    const field = byId(`written-${bank}`);
    if (field.value !== board.said.text) field.value = board.said.text;
  }
  find('[data-action="none"]').setAttribute("aria-pressed", board.none);
  find('[data-action="submit"]').setAttribute("aria-disabled", !board.complete());
  find('[data-action="submit"] kbd').textContent = board.editor ? "Ctrl ↵" : "↵";
  find('[data-action="undo"]').setAttribute("aria-disabled", board.past.length === 0);
}

function drawCard(bank, letter, board, index, texts) {
  const shown = card(bank, letter);
  const number = board.number(index);
  const picked = index === board.picked && !board.editor;
  shown.classList.toggle("picked", picked);
  shown.classList.toggle("ranked", number !== null);
  all(".ranks input", shown).forEach((input) => {
    input.checked = Number(input.value) === number;
  });
  const [key, values] = board.note(index) ?? [];
  find(".tie", shown).textContent = key ? format(texts[key], values) : "";
  find('[data-action="clear"]', shown).hidden = number === null;
  if (board.flags.length === 0) return;
  const marked = board.marked(index);
  all(".flags input", shown).forEach((input) => {
    input.checked = marked.includes(input.value);
  });
  const count = marked.length ? format(texts.problems_marked, { count: marked.length }) : "";
  find(".flags .count", shown).textContent = count;
}

/** Parts of a summary are [kind, text key or letters, values]. */
function drawSummary(board, texts) {
  const place = find("#dock .groups");
  place.replaceChildren();
  board.summary().forEach(([kind, text, values], i, parts) => {
    if (kind === "group" && parts[i - 1]?.[0] === "group")
      place.append(element("span", ">", "over"), " ");
    place.append(element("span", format(texts[text] ?? text, values), kind), " ");
  });
}

export function drawProgress(progress, texts) {
  const mine = format(texts.progress_mine, progress);
  const done = format(texts.progress, progress);
  find("#header .progress-text").textContent = `${done} · ${mine}`;
  const bar = find("#header progress");
  bar.max = Math.max(1, progress.wanted);
  bar.value = Math.min(progress.done, progress.wanted);
}

export function drawEnd({ progress, open: isOpen }, nextStep, texts) {
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
  const waiting = isOpen ? "end_open" : "end_paused";
  const state = progress.wanted === 0 ? "end_empty" : open > 0 ? waiting : "end_complete";
  find(".open", end).textContent = format(texts[state], { ...progress, open });
  find(".next", end).hidden = !nextStep;
  find(".next pre", end).textContent = nextStep;
}

export const focusEnd = () => find("#end h2").focus();

export function showFailure(text) {
  const failure = find("#dock .failure");
  failure.hidden = text === null;
  find("span", failure).textContent = text ?? "";
}

export function showState(text, kind = "") {
  const state = find("#header .state");
  if (state.textContent !== text) state.textContent = text;
  state.dataset.kind = kind;
}

export function say(...sentences) {
  find("#dock .live").textContent = sentences.filter(Boolean).join(" ");
}

export function focusCard(bank, letter) {
  const shown = card(bank, letter);
  shown.focus({ preventScroll: true });
  shown.scrollIntoView({ block: "nearest" });
}
