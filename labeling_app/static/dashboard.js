// The lead's page: asks the server every few seconds, and sends what a lead changes.

import { itemDialog } from "./dashboard_item.js";
import { itemRows, overview, quality } from "./dashboard_sections.js";
import { el, fill, number, put, say, time } from "./dashboard_view.js";

const EVERY_MS = 5000;
const TIMEOUT_MS = 20000;
const MOST_MIB = 16;
const base = new URL("../", document.baseURI);
const chosen = () => new URLSearchParams(location.search).get("campaign") ?? "";

function address(path, query = {}) {
  const url = new URL(`api/lead/${path}`, base);
  if (chosen()) url.searchParams.set("campaign", chosen());
  for (const [name, values] of Object.entries(query))
    for (const value of [values].flat()) url.searchParams.append(name, value);
  return url;
}

/** The lead's routes. A refusal is an Error whose message is fit to be read. */
function routes(texts) {
  async function call(path, query, options) {
    let reply;
    try {
      reply = await fetch(address(path, query), { ...options, signal: AbortSignal.timeout(TIMEOUT_MS) });
    } catch {
      throw new Error(texts.offline);
    }
    const said = await reply.json().catch(() => ({}));
    if (reply.ok) return said;
    const reason = typeof said.detail === "string" ? said.detail : texts.refused;
    throw Object.assign(new Error(reason), { status: reply.status });
  }
  return {
    get: (path, query) => call(path, query, {}),
    post: (path, body) => call(path, {}, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    }),
    upload: (path, query, file) => call(path, query, {
      method: "POST", headers: { "Content-Type": "application/x-ndjson" }, body: file,
    }),
  };
}

export async function start(root) {
  followTheme();
  const texts = await fetch(new URL("api/lead/texts", base)).then((reply) => reply.json());
  const server = routes(texts);
  const find = (selector) => root.querySelector(selector);
  const state = { facts: null, counted: null, seen: null, timer: 0 };

  async function refresh() {
    clearTimeout(state.timer);
    try {
      state.facts = await server.get("overview");
      choices(find("#campaign"), state.facts);
      overview(root, texts, state.facts);
      forms.show(state.facts.campaign);
      state.counted = await server.get("quality");
      quality(root, texts, state.counted, state.facts);
      reachable(root);
      state.seen = Date.now() / 1000;
      say(find(".live"), put(texts.live, { time: time(state.seen) }));
      find(".lost").hidden = true;
    } catch (error) {
      const lost = error.message === texts.offline && state.seen;
      say(find(".lost"), lost ? put(texts.lost, { time: time(state.seen) }) : put(texts.failed, { reason: error.message }));
      find(".lost").hidden = false;
      say(find(".live"), "");
    }
    clearTimeout(state.timer);
    const soon = state.counted && !state.counted.ready;
    state.timer = setTimeout(refresh, soon ? 1000 : EVERY_MS);
  }

  const changed = (text) => {
    if (text) say(find(".said"), text);
    refresh();
  };
  const openItem = itemDialog(root, texts, server, changed);
  const forms = wireForms(root, texts, server, state, changed);
  const list = wireItems(root, texts, server);
  const actions = {
    more: list.more,
    async pause(button) {
      const open = !state.facts.campaign.settings.open;
      button.disabled = true;
      await forms.change({ open }, null, open ? texts.resume_note : texts.pause_note).catch(
        (error) => say(find(".said"), put(texts.failed, { reason: error.message })));
      button.disabled = false;
    },
  };
  root.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button || button.closest("dialog")) return;
    if (button.dataset.item) openItem(button.dataset.item);
    else if (button.dataset.review)
      server.post("review", { item_id: Number(button.dataset.review) }).then(
        () => changed(put(texts.done_reviews, { count: 1 })),
        (error) => changed(put(texts.failed, { reason: error.message })));
    else actions[button.dataset.action]?.(button);
  });
  find("#campaign").addEventListener("change", (event) => {
    const url = new URL(location.href);
    url.searchParams.set("campaign", event.target.value);
    location.assign(url);
  });
  const reviews = find(".reviews");
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
  new ResizeObserver(() => {
    if (state.counted) quality(root, texts, state.counted, state.facts);
    reachable(root);
  }).observe(root);
  await refresh();
  const to = new URLSearchParams({ campaign: state.facts?.campaign.name ?? "", review: "true" });
  reviews.href = new URL(`?${to}`, base);
  list.find();
}

/** Gradio follows the system; a choice that was made on the ranking page holds here too. */
function followTheme() {
  const kept = localStorage.getItem("theme");
  if (kept) document.body.classList.toggle("dark", kept === "dark");
}

/** What scrolls sideways can be reached by keyboard. */
function reachable(root) {
  for (const box of root.querySelectorAll(".scroll")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}

function choices(select, facts) {
  fill(select, [facts.campaigns, facts.campaign.name], () =>
    facts.campaigns.map((name) => el("option", { value: name }, name)));
  if (document.activeElement !== select) select.value = facts.campaign.name;
}

function wireItems(root, texts, server) {
  const form = root.querySelector("#find");
  let kept = [];
  async function load(offset) {
    if (offset === 0) kept = [];
    const said = await server.get("items", { search: form.elements.search.value, offset });
    itemRows(root, texts, said, kept);
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    load(0);
  });
  return { find: () => load(0), more: () => load(kept.length) };
}

function valueOf(input) {
  if (input.type === "checkbox") return input.checked;
  return input.type === "number" ? Number(input.value) : input.value;
}

function wireForms(root, texts, server, state, changed) {
  const form = (name) => root.querySelector(`#${name}`);
  const theirs = root.querySelector(".theirs");
  const [guidelines, settings] = [form("change-guidelines"), form("change-settings")];
  const begun = new Map(); // form -> the version that was on the page then, the fields touched since
  for (const one of [guidelines, settings])
    one.addEventListener("input", ({ target }) => {
      const { version } = state.facts.campaign;
      if (!begun.has(one)) begun.set(one, { version, touched: new Set() });
      begun.get(one).touched.add(target.name);
    });
  const isTouched = (target, name) => begun.get(target)?.touched.has(name) ?? false;

  function show(campaign) {
    if (!isTouched(guidelines, "guidelines")) guidelines.elements.guidelines.value = campaign.guidelines;
    for (const input of settings.elements) {
      if (!(input.name in campaign.settings) || isTouched(settings, input.name)) continue;
      if (input.type === "checkbox") input.checked = campaign.settings[input.name];
      else input.value = campaign.settings[input.name];
    }
  }

  async function change(newSettings, text, note, version = state.facts.campaign.version) {
    const said = await server.post("change", { version, note, guidelines: text, settings: newSettings });
    state.facts.campaign = said.campaign;
    const outcome = put(texts.done_change, { version: said.campaign.version });
    changed(outcome);
    return outcome;
  }

  /** Saves what was touched; where somebody else was faster, shows that first. */
  async function save(target, newSettings, text) {
    const { note } = target.elements;
    try {
      const said = await change(newSettings, text, note.value, begun.get(target)?.version);
      begun.delete(target);
      note.value = "";
      if (target === guidelines) theirs.hidden = true;
      return said;
    } catch (error) {
      if (error.status !== 409) throw error;
      state.facts = await server.get("overview");
      const { campaign, versions: [newest] } = state.facts;
      if (begun.has(target)) begun.get(target).version = campaign.version;
      show(campaign);
      if (target === guidelines) theirs.hidden = false;
      say(theirs.querySelector("pre"), campaign.guidelines);
      throw new Error(put(texts.conflict, { who: newest.changed_by, version: newest.version }));
    }
  }

  /** Runs `work` when the form is sent, and says below it what came of it. */
  function on(target, work) {
    target.addEventListener("submit", async (event) => {
      event.preventDefault();
      const outcome = target.querySelector(".outcome");
      const button = target.querySelector("button");
      button.disabled = true;
      try {
        say(outcome, (await work(target.elements)) ?? "");
      } catch (error) {
        say(outcome, put(texts.failed, { reason: error.message }));
      }
      button.disabled = false;
    });
  }

  on(guidelines, ({ guidelines: field }) =>
    save(guidelines, {}, isTouched(guidelines, "guidelines") ? field.value : null));
  on(settings, (fields) => {
    const touched = [...fields].filter((input) =>
      input.name in state.facts.campaign.settings && isTouched(settings, input.name));
    return save(settings, Object.fromEntries(touched.map((input) => [input.name, valueOf(input)])), null);
  });
  const upload = async (path, query, input) => {
    const file = input.files[0];
    if (!file) return texts.file_missing;
    const size = file.size / 2 ** 20;
    if (size > MOST_MIB) return put(texts.file_large, { size: number(size), most: MOST_MIB });
    const said = await server.upload(path, query, file);
    input.value = "";
    changed("");
    return put(texts.done_added, { count: number(said.added) });
  };
  on(form("add-items"), (fields) => upload("items", {}, fields.file));
  on(form("add-model"), (fields) => upload("model", { model: fields.model.value }, fields.file));
  on(form("ask-reviews"), async (fields) => {
    const said = await server.post("reviews", { below: Number(fields.below.value) });
    changed("");
    return put(texts.done_reviews, { count: said.asked });
  });
  on(form("export"), async (fields) => {
    const without = fields.without.value.split(",").map((name) => name.trim()).filter(Boolean);
    const reply = await fetch(address("export", { without }));
    if (!reply.ok) throw new Error((await reply.json().catch(() => ({}))).detail ?? texts.refused);
    const link = el("a", { href: URL.createObjectURL(await reply.blob()), download: `${state.facts.campaign.name}.answers.jsonl` });
    link.click();
    URL.revokeObjectURL(link.href);
    return "";
  });
  return { show, change };
}
