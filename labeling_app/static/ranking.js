// The page at work: keys and clicks change the board, the board is drawn and saved, and the next
// item waits, rendered, in the bank of slots that is out of view.

import { LETTERS } from "./board.js";
import { filler } from "./bridge.js";
import { openCampaign } from "./campaign.js";
import { listen } from "./input.js";
import { Kept } from "./keeping.js";
import { boardFor } from "./modes.js";
import * as panels from "./panels.js";
import * as reading from "./reading.js";
import { Drafts, Patience } from "./saving.js";
import { Stopwatch } from "./stopwatch.js";
import { applyTheme, toggleTheme } from "./theme.js";
import * as view from "./view.js";

const { all, byId, card, find, format } = view;
const reviewing = new URLSearchParams(location.search).get("review") === "true";
const patience = new Patience();
const held = [null, null]; // the item in each bank
let campaign, texts, routes, fill, drafts;
let board = null;
let bank = 0;
let watch = null;
let ahead = null; // the reply that holds the next item, promised,
let waiting = null; // and that item, once it is in the other bank
let following = null; // the reply to an answer, which holds the item after that one
let noted = []; // what the draft says already
let aside = null; // the board that waits while an earlier answer is looked at
let busy = false;
let ended = false; // nothing is left to do
let retry = null; // what failed and can be done again,
let failed = ""; // and how that was said
let justDone = ""; // said together with what comes next

/** Called by Gradio once the blocks are there; `trigger` runs the events of the bridge. */
export async function start(trigger) {
  applyTheme();
  campaign = await openCampaign((reason) => (find("#end .waiting").textContent = reason));
  ({ texts, routes } = campaign);
  const kept = new Kept(campaign.facts.labeler_id, campaign.facts.name);
  drafts = new Drafts((itemId, draft) => routes.draft(itemId, draft), showState, kept);
  fill = filler(trigger, () => [campaign.guidelines, ...held]);
  for (const each of [0, 1])
    byId(`conversation-${each}`).setAttribute("aria-label", texts.conversation);
  view.measure();
  panels.rememberSingleKeys();
  listen(page);
  reading.watchWide();
  addEventListener("beforeunload", (event) => unsaved() && event.preventDefault());
  setInterval(signOfLife, campaign.facts.heartbeat_seconds * 1000);
  document.addEventListener("visibilitychange", signOfLife);
  await fill();
  await showCampaign();
  await goOn();
}

/** Shows the campaign; resolves once its guidelines are accepted, where that is asked for. */
async function showCampaign() {
  find("#header .campaign").textContent = campaign.facts.name;
  document.title = `${campaign.facts.name} · ${texts[`mode_${modeHere()}`]}`;
  for (const button of all('[data-action="review"]')) button.hidden = !campaign.facts.review;
  const leads = ["lead", "admin"].includes(campaign.facts.role);
  for (const link of all("a[data-lead]")) {
    link.hidden = !leads;
    link.href = `lead/?campaign=${encodeURIComponent(campaign.facts.name)}`;
  }
  view.label("review", texts[reviewing ? "own_work" : "review_work"]);
  panels.drawChanges(campaign.facts.changes, texts);
  if (!campaign.facts.needs_consent) return;
  await panels.askConsent(() => campaign.consent().finally(fill));
  drafts.flush();
}

/** Whether something would be lost with the page, or was meant to be sent and is not yet. */
const unsaved = () =>
  drafts.unsaved || failed === "not_saved" || document.body.matches(".saving");

const modeHere = () => (reviewing ? "review" : campaign.facts.mode);

async function refresh() {
  await campaign.refresh();
  await fill();
}

/** Looks again where the campaign has a newer version than the page shows. */
async function notice(version) {
  if (version === undefined || version === campaign.facts.version) return;
  try {
    await refresh();
    await showCampaign();
  } catch (error) {
    showState(error.lost ? "kept" : "refused", error.message);
  }
}

async function signOfLife() {
  if (document.hidden) return;
  if (!board) return lookAgain();
  const inHand = [board, aside?.board].filter(Boolean).map((each) => each.item.item_id);
  const next = aside ? null : held[1 - bank];
  try {
    const reply = await routes.heartbeat(next ? [...inHand, next.item_id] : inHand);
    if (find("#header .state").dataset.kind === "kept" && !drafts.unsaved) showState("back");
    await notice(reply.version);
  } catch (error) {
    if (error.status === 0) showState("kept");
  }
}

/** Looks for more at the end, where the labeler is not in the middle of something else. */
async function lookAgain() {
  if (!ended || busy || find("dialog[open]")) return;
  if (document.body.matches(".with-mine, .with-guidelines, .asking-consent")) return;
  busy = true;
  try {
    const reply = await load(1 - bank, await routes.next(null, reviewing));
    view.drawEnd(reply, campaign.facts.next_step, texts);
    if (reply.item) {
      justDone = texts.say_more;
      ahead = Promise.resolve(reply);
      await goOn();
    } else notice(reply.version);
  } catch {
    // What is wrong is said when the labeler asks.
  } finally {
    busy = false;
  }
}

function showState(kind, reason = "") {
  view.showState(format(texts[`state_${kind}`], { reason }), kind);
}

// From item to item

async function load(into, reply) {
  if (reply.item) {
    held[into] = reply.item = drafts.recover(reply.item);
    view.prepareBank(into, boardFor(reply.item), texts);
    await fill();
  }
  return reply;
}

/** Fills the other bank: from the reply to the last answer or, without one, asking for it. */
function prefetch(known = null) {
  const other = 1 - bank;
  const asked = known ? Promise.resolve(known) : routes.next(board.item.item_id, reviewing);
  const mine = asked.then((reply) => load(other, reply)).catch(() => null);
  ahead = mine;
  mine.then((reply) => (waiting = ahead === mine ? (reply?.item ?? null) : waiting));
}

/** Shows the next item: the one that waits, or one asked for now; the end where there is none. */
async function goOn() {
  try {
    let reply = await ahead;
    const known = following;
    [ahead, waiting, following] = [null, null, null];
    if (!reply?.item) {
      reply = await load(1 - bank, await routes.next(null, reviewing));
      view.drawProgress(reply.progress, texts);
    }
    settled();
    watch?.stop();
    if (reply.item) {
      const made = boardFor(reply.item);
      show(1 - bank, made, new Stopwatch(reply.item.draft?.seconds));
      prefetch(known);
    } else {
      board = null;
      ended = true;
      view.drawEnd(reply, campaign.facts.next_step, texts);
      view.focusEnd();
    }
    notice(reply.version);
  } catch (error) {
    if (error.status === 409) return askAgain(goOn, error);
    fail("not_loaded", error, goOn);
  }
}

function show(into, shown, itsWatch) {
  [bank, board, watch] = [into, shown, itsWatch];
  ended = false;
  noted = [board.said, board.rationale];
  const changedBefore = Boolean(board.item.answer) && board.touched();
  panels.drawCorrecting(aside !== null && aside.board !== board, changedBefore, texts);
  view.showBank(bank, board, texts);
  draw();
  reading.foldAll(bank, texts);
  refocus();
  window.scrollTo({ top: 0 });
  view.say(justDone, format(texts.say_next, { count: board.ids.length }));
  justDone = "";
}

function refocus() {
  if (!board || find("dialog[open]") || document.body.matches(".with-mine")) return;
  if (board.editor && !matchMedia("(hover: none)").matches) byId(`written-${bank}`).focus();
  else if (board.ids.length > 0) view.focusCard(bank, LETTERS[board.picked]);
}

function draw() {
  view.drawBoard(bank, board, texts);
}

function say(key, values) {
  view.say(format(texts[key], values));
}

function fail(key, error, again) {
  [retry, failed] = [again, key];
  const lost = key === "not_saved" && error.lost;
  view.showFailure(format(texts[lost ? "not_saved_lost" : key], { reason: error.message }));
  if (error.lost) patience.later(() => retry?.());
}

function settled() {
  patience.calm();
  [retry, failed] = [null, ""];
  view.showFailure(null);
}

/** The guidelines have changed and want to be accepted first; or the item was answered in another
 * window, and sending it again replaces that answer. */
async function askAgain(then, refusal) {
  try {
    await refresh();
    if (!campaign.facts.needs_consent) {
      if (board) board.replaces = true;
      return fail("not_saved", refusal, then);
    }
    await showCampaign();
    await then();
  } catch (error) {
    fail("not_loaded", error, then);
  }
}

// Saving

async function send(action, done) {
  if (busy || !board) return;
  busy = true;
  patience.pause();
  document.body.classList.add("saving");
  let asking = null;
  const { item_id } = board.item;
  const draft = drafting();
  try {
    await drafts.hold(item_id);
    const reply = await action();
    drafts.drop(item_id);
    if (failed) showState("back");
    settled();
    view.drawProgress(reply.progress, texts);
    justDone = done;
    if (aside) comeBack();
    else {
      board = null; // saved: nothing that could be lost
      following = reply.after && reply.item ? reply : null;
      await goOn();
    }
  } catch (error) {
    if (board?.item.item_id === item_id) drafts.touch(item_id, draft);
    asking = error.status === 409 ? error : null;
    if (!asking) fail("not_saved", error, () => send(action, done));
  } finally {
    busy = false;
    document.body.classList.remove("saving");
  }
  if (asking) await askAgain(() => send(action, done), asking);
}

/** Sends the answer; the reply brings the item to follow the one that waits already. */
async function answer() {
  const said = board.sent(watch.seconds());
  if (aside) return routes.submit(said);
  const after = waiting?.item_id;
  const asked = { first: !board.replaces, ahead: true, after, review: reviewing };
  return { ...(await routes.submit(said, asked)), after };
}

function submit() {
  if (board.complete()) {
    send(answer, texts.say_saved);
  } else {
    say(...board.lack());
    find("#dock").classList.add("nudge");
    setTimeout(() => find("#dock").classList.remove("nudge"), 400);
  }
}

async function skip() {
  if (aside) return;
  const said = await panels.ask("skip");
  refocus();
  if (!said) return;
  const why = texts[said.chosen] ?? "";
  const { item_id } = board.item;
  const reason = [why, said.note].filter(Boolean).join(": ");
  send(() => routes.skip(item_id, reason), texts.say_skipped);
}

async function flag() {
  const { item_id } = board.item;
  const said = await panels.ask("flag");
  refocus();
  if (!said) return;
  const tell = async () => {
    try {
      await routes.flag(item_id, said.chosen || "other", said.note);
      settled();
      say("say_told_lead");
    } catch (error) {
      fail("not_told", error, tell);
    }
  };
  await tell();
}

// Earlier answers

async function showMine() {
  if (!panels.toggle("mine")) return refocus();
  await showOwn(0);
}

const moreMine = () => showOwn(all("#mine .own").length);

async function showOwn(offset) {
  try {
    await panels.showOwn(routes.mine, open, texts, offset);
  } catch (error) {
    panels.ownFailed(error, texts);
  }
}

/** Shows an earlier answer in the bank that is out of view; what was being done waits. */
async function open(itemId) {
  if (busy) return;
  busy = true;
  try {
    await ahead; // it would still write into the bank that is needed now
    const found = await routes.item(itemId);
    const into = aside ? bank : 1 - bank;
    aside ??= { board, bank, watch };
    aside.watch?.pause(true);
    [ahead, waiting, following] = [null, null, null];
    const { item } = await load(into, { item: found });
    panels.closeAll();
    busy = false;
    justDone = texts.say_earlier;
    show(into, boardFor(item), new Stopwatch());
  } catch (error) {
    panels.ownFailed(error, texts);
  } finally {
    busy = false;
  }
}

function comeBack() {
  const before = aside;
  aside = null;
  watch.stop();
  busy = false;
  panels.drawCorrecting(false, false, texts);
  [board, bank] = [before.board, before.board ? before.bank : bank];
  if (!board) return goOn();
  before.watch.pause(false);
  justDone = [justDone, texts.say_back].join(" ");
  show(bank, board, before.watch);
  prefetch();
}

// What keys, clicks and fields do

const always = {
  guidelines: () => panels.toggle("guidelines") || refocus(),
  mine: showMine,
  "more-mine": moreMine,
  theme: toggleTheme,
  keys: () => panels.openKeys(modeHere()),
  menu: () => panels.menu(!document.body.classList.contains("with-menu")),
  read: () => panels.toggle("guidelines", true),
  told,
  review: switchReview,
  "close-dialog": () => find("dialog[open]").close(),
  retry: () => retry?.(),
  again: goOn,
};
const onItem = {
  submit,
  skip,
  flag,
  undo,
  why,
  back: comeBack,
  none: () => page.did(board.toggleNone()),
  clear: (index) => page.did(board.clear(index)),
  raw: (index) => byCard(index, (shown) => reading.toggleRaw(shown, texts)),
  expand: (index) => byCard(index, (shown) => reading.toggleFold(shown, texts)),
  diff: (index) => reading.openDiff(board, index, texts),
  problems: (index) => byCard(index, problems),
};

async function told() {
  try {
    await routes.told(campaign.facts.version);
    panels.drawChanges([], texts);
  } catch (error) {
    fail("not_loaded", error, told);
  }
}

function switchReview() {
  const url = new URL(location.href);
  if (reviewing) url.searchParams.delete("review");
  else url.searchParams.set("review", "true");
  location.assign(url);
}

function undo() {
  page.did(board.undo() ?? [["say_nothing_to_undo"]], true);
  view.drawRationale(board, !find("#dock .rationale").hidden);
}

function why() {
  const opening = find("#dock .rationale").hidden;
  view.drawRationale(board, opening);
  if (opening) byId("rationale").focus();
}

function byCard(index, action) {
  if (index < board.ids.length) action(card(bank, LETTERS[index]));
}

function problems(shown) {
  const details = find(".flags", shown);
  if (details.hidden) return;
  details.open = !details.open;
  if (!details.open) return refocus();
  find("input", details).focus();
  details.scrollIntoView({ block: "nearest" });
}

const page = {
  get board() {
    return board;
  },
  ready: () => board !== null && !busy && !document.body.matches(".asking-consent"),
  refocus,
  escape: () => aside && page.ready() && comeBack(),
  act(action, index) {
    if (action in always) always[action]();
    else if (action in onItem && page.ready()) onItem[action](index ?? board.picked);
  },
  pick(index) {
    board.pick(index);
    draw();
  },
  put: (index, number) => page.did(board.put(index, number, false)),
  explain(rationale) {
    board.explain(rationale);
    changed();
  },
  /** Draws and says what the board has been told; false where that meant nothing to it. */
  did(said, byKey = false) {
    if (said === null) return false;
    draw();
    if (byKey && !board.editor) view.focusCard(bank, LETTERS[board.picked]);
    view.say(...said.map(([key, { what, ...values } = {}]) =>
      format(texts[key], { ...values, what: texts[what] })));
    changed();
    return true;
  },
};

/** The draft is saved soon; what was being sent again is not what is said any more. */
function changed() {
  if (board.said === noted[0] && board.rationale === noted[1]) return;
  noted = [board.said, board.rationale];
  if (failed === "not_saved") settled();
  drafts.touch(board.item.item_id, drafting());
}

/** What makes the draft of the item in hand, whatever is in hand by then. */
function drafting() {
  const [itsBoard, itsWatch] = [board, watch];
  return () => itsBoard.draft(itsWatch.seconds());
}
