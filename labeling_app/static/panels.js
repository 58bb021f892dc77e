// What stands beside the work: guidelines and consent, what has changed, own answers, keys, menu.

import { all, byId, element, find, format } from "./view.js";

const PANELS = { guidelines: "with-guidelines", mine: "with-mine" };

/** Opens one panel and closes the other, or closes it; returns whether it is open now. */
export function toggle(name, open = !document.body.classList.contains(PANELS[name])) {
  for (const [each, className] of Object.entries(PANELS)) {
    const on = open && each === name;
    document.body.classList.toggle(className, on);
    for (const button of all(`[data-action="${each}"]`)) button.setAttribute("aria-expanded", on);
  }
  if (open) find(`#${name} h2`).focus({ preventScroll: true });
  return open;
}

/** Closes what is open; false where nothing was. */
export function closeAll() {
  const open = Object.keys(PANELS).find((name) => document.body.classList.contains(PANELS[name]));
  if (open) toggle(open, false);
  return menu(false) || open !== undefined;
}

/** Shows or hides what has no room on a phone; returns whether that changed anything. */
export function menu(open) {
  const before = document.body.classList.contains("with-menu");
  document.body.classList.toggle("with-menu", open);
  find('[data-action="menu"]').setAttribute("aria-expanded", open);
  return before !== open;
}

/** Shows the guidelines alone until they are accepted; `accept` is asked to record it. */
export async function askConsent(accept) {
  closeAll();
  document.body.classList.add("asking-consent");
  find("#guidelines h2").focus();
  const button = find('[data-action="consent"]');
  for (;;) {
    await new Promise((resolve) => button.addEventListener("click", resolve, { once: true }));
    const trouble = find("#guidelines-foot .trouble");
    try {
      trouble.textContent = "";
      await accept();
      break;
    } catch (error) {
      trouble.textContent = error.message;
    }
  }
  document.body.classList.remove("asking-consent");
}

/** Tells what has changed in the campaign since the labeler was last told. */
export function drawChanges(changes, texts) {
  const notice = find("#banner .changed");
  notice.hidden = changes.length === 0;
  const said = (change) =>
    change.note || (change.guidelines_changed ? texts.changed_guidelines : texts.changed_settings);
  find("ul", notice).replaceChildren(...changes.map((change) => element("li", said(change))));
  const guidelines = changes.some((change) => change.guidelines_changed);
  find('[data-action="read"]', notice).hidden = !guidelines;
}

/** `unsaved`: what is shown holds a change that was not saved. */
export function drawCorrecting(correcting, unsaved, texts) {
  find("#banner .correcting").hidden = !correcting;
  find("#banner .unsaved").hidden = !unsaved;
  find('#dock [data-action="skip"]').hidden = correcting;
  const submit = find('#dock [data-action="submit"] .label');
  submit.textContent = correcting ? texts.submit_correction : texts.submit;
}

const OWN_AT_ONCE = 100;

/** The labeler's own answers, each a button that opens it; `ask` for them from a number on. */
export async function showOwn(ask, open, texts, offset = 0) {
  const { answers } = await ask(OWN_AT_ONCE, offset);
  const rows = answers.map(({ item_id, answered_at, title }) => {
    const button = Object.assign(element("button", "", "own"), { type: "button" });
    const when = new Date(answered_at);
    const time = Number.isNaN(when.valueOf()) ? "" : when.toLocaleString();
    button.append(element("span", title, "title"), element("span", time, "when"));
    button.addEventListener("click", () => open(item_id));
    const row = document.createElement("li");
    row.append(button);
    return row;
  });
  const list = find("#mine ol");
  if (offset > 0) list.append(...rows);
  else list.replaceChildren(...rows);
  find("#mine .lead").textContent = list.children.length ? texts.mine_lead : texts.mine_empty;
  find('#mine [data-action="more-mine"]').hidden = answers.length < OWN_AT_ONCE;
  if (offset > 0) find("button", rows[0])?.focus();
}

export function ownFailed(error, texts) {
  find("#mine .lead").textContent = format(texts.not_loaded, { reason: error.message });
}

/** Only the keys of this mode are listed. */
export function openKeys(mode) {
  for (const row of all("#keys-dialog [data-modes]"))
    row.hidden = row.dataset.modes !== "" && !row.dataset.modes.split(" ").includes(mode);
  byId("keys-dialog").showModal();
}

/** Opens a dialog with a form, empty; resolves with what was chosen and written, or null. */
export function ask(name) {
  const dialog = byId(`${name}-dialog`);
  find("form", dialog).reset();
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => {
      if (dialog.open) return; // told late of an earlier closing, after which it was opened again
      const chosen = find("input:checked", dialog)?.value ?? "";
      const note = find("textarea", dialog).value.trim();
      resolve(dialog.returnValue === name ? { chosen, note } : null);
    };
  });
}

const SHORTCUTS = "single-keys";

/** Whether single keys work: they can get in the way of speech input. */
export function singleKeys() {
  return byId(SHORTCUTS).checked;
}

export function rememberSingleKeys() {
  const box = byId(SHORTCUTS);
  try {
    box.checked = localStorage.getItem(SHORTCUTS) !== "off";
    box.addEventListener("change", () =>
      localStorage.setItem(SHORTCUTS, box.checked ? "on" : "off"),
    );
  } catch {
    // No storage here: the box holds until the page is closed.
  }
}
