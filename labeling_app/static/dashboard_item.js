// One item: its answers side by side, who said what, and what a lead does with it.

import { el, put, say } from "./dashboard_view.js";

const LETTERS = "ABCDEFGHI";
const letter = (place) => LETTERS[place] ?? String(place + 1);

export function itemDialog(root, texts, server, changed) {
  const dialog = root.querySelector("#item");
  const outcome = dialog.querySelector(".outcome");
  const priority = dialog.querySelector('[name="priority"]');
  let shown = null;

  async function open(item) {
    try {
      shown = await server.get(`items/${item}`);
    } catch (error) {
      changed(put(texts.failed, { reason: error.message }));
      return;
    }
    say(outcome, "");
    render();
    if (!dialog.open) dialog.showModal();
  }

  function render() {
    say(dialog.querySelector("h2"), put(texts.item_title, { item: shown.item_id }));
    dialog.querySelector(".turns").replaceChildren(...shown.turns.map((turn) =>
      el("div", { class: `turn ${turn.role}` }, el("b", {}, texts[`role_${turn.role}`]), el("p", {}, turn.content))));
    const ranks = expectedRanks(shown);
    dialog.querySelector(".responses").replaceChildren(...shown.responses.map((one, at) => {
      const label = put(texts.expected_rank, { letter: letter(at) });
      const select = el("select", { "data-response": one.id, "aria-label": label }, el("option", { value: "" }, "–"),
        ...shown.responses.map((_, rank) => el("option", { value: rank + 1 }, String(rank + 1))));
      select.value = ranks[one.id] ?? "";
      return el("article", {}, el("h3", {}, put(texts.response, { letter: letter(at) })),
        el("pre", {}, one.text), faults(one.id), el("label", {}, `${texts.expected} `, select));
    }));
    const votes = [...shown.votes.map((vote) => [vote.labeler_id, vote]),
      ...shown.verdict.map((vote) => [texts.verdict, vote])];
    dialog.querySelector(".votes").replaceChildren(...(votes.length ? votes.map(vote) : [texts.said_nothing]));
    priority.value = shown.priority;
    const gold = shown.kind === "gold";
    dialog.querySelector('[data-action="work"]').hidden = !gold;
    dialog.querySelector('[data-action="review"]').hidden = gold || shown.review !== "" || !shown.reviewable;
  }

  /** What is wrong with a response, each fault with the number of labelers who say so. */
  function faults(response) {
    const named = shown.votes.flatMap((one) => one.flags?.[response] ?? []);
    if (named.length === 0) return null;
    const counted = [...new Set(named)].sort().map((name) => put(texts.said_fault, {
      fault: texts[`fault_${name}`] ?? name, count: named.filter((one) => one === name).length,
    }));
    return el("p", { class: "faults" }, counted.join(" · "));
  }

  /** What is said beside the order: by how much, or each rating. */
  function beside(said, letters) {
    if (said.strength) return ` (${texts[`strength_${said.strength}`] ?? said.strength})`;
    if (!said.ratings) return "";
    const ratings = Object.entries(said.ratings).map(([one, rating]) =>
      put(texts.said_rating, { letter: letters.get(one) ?? "?", rating }));
    return ` (${ratings.sort().join(", ")})`;
  }

  function vote([who, said]) {
    const letters = new Map(shown.responses.map((one, at) => [one.id, letter(at)]));
    const order = said.text ?? said.groups.map((group) =>
      group.map((one) => letters.get(one) ?? "?").sort().join(" = ")).join(" › ");
    const none = said.none_acceptable ? ` (${texts.said_none})` : "";
    const why = said.rationale ? el("span", { class: "why" }, `${texts.why}: ${said.rationale}`) : null;
    return el("p", {}, el("b", {}, who), ` ${order}${beside(said, letters)}${none} `, why);
  }

  async function act(path, body, text) {
    try {
      await server.post(path, body);
      shown = await server.get(`items/${shown.item_id}`);
      render();
      say(outcome, put(text, { item: shown.item_id, count: 1 }));
      changed("");
    } catch (error) {
      say(outcome, put(texts.failed, { reason: error.message }));
    }
  }

  const actions = {
    close: () => dialog.close(),
    gold() {
      const groups = groupsOf([...dialog.querySelectorAll("[data-response]")]);
      if (groups === null) say(outcome, texts.gold_missing);
      else act("gold", { item_id: shown.item_id, expected: groups }, texts.done_gold);
    },
    work: () => act("gold", { item_id: shown.item_id, expected: null }, texts.done_work),
    review: () => act("review", { item_id: shown.item_id }, texts.done_reviews),
    priority: () => act("priorities", {
      priorities: [{ item_id: shown.item_id, priority: Number(priority.value) }],
    }, texts.done_priority),
  };
  dialog.addEventListener("click", (event) => {
    actions[event.target.closest("[data-action]")?.dataset.action]?.();
  });
  return open;
}

/** Ranks by response: what is expected, else what a reviewer said. */
function expectedRanks(shown) {
  const groups = shown.expected ?? shown.verdict.at(-1)?.groups ?? [];
  return Object.fromEntries(groups.flatMap((group, at) => group.map((one) => [one, String(at + 1)])));
}

/** Tie groups from the selects, best first; null where one is missing or all tie. */
function groupsOf(selects) {
  if (selects.some((select) => select.value === "")) return null;
  const ranks = [...new Set(selects.map((select) => Number(select.value)))].sort((a, b) => a - b);
  if (ranks.length < 2) return null;
  return ranks.map((rank) => selects.filter((select) => Number(select.value) === rank)
    .map((select) => select.dataset.response));
}
