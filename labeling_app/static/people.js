import { button, call, element, fill, onSubmit, row, say, showOnce, visitor, when, words } from "./shell.js";

const ROLES = ["labeler", "reviewer", "lead", "admin"];
const once = document.querySelector(".once");
const form = document.getElementById("invite-form");
let me;
let campaigns = []; // their names

function reveal(text, url) {
  once.querySelector("p").textContent = text;
  showOnce(once, url);
}

async function showInvitations() {
  const open = await call("GET", "invitations");
  const rows = open.map((one) => {
    const role = words[`role_${one.role}`];
    const hint = [one.made_by, fill(words.ends, { when: when(one.expires_at) })].filter(Boolean);
    return row(one.campaign === null ? role : `${role} · ${one.campaign}`, hint.join(" · "),
      button(words.withdraw, async () => {
        await call("DELETE", `invitations/${one.id}`);
        await showInvitations();
        say(words.done);
      }));
  });
  if (rows.length === 0) rows.push(row("", words.invitations_none));
  document.getElementById("invitations").replaceChildren(...rows);
}

async function change(account, changes) {
  try {
    await call("PATCH", `accounts/${account.labeler_id}`, changes);
  } finally {
    await showAccounts(); // as it is, also where the change was refused
  }
  say(words.done);
}

function roleOf(account) {
  if (me.role !== "admin" || account.is_program) {
    return element("span", account.is_program ? words.is_program : words[`role_${account.role}`]);
  }
  const label = fill(words.role_of, account);
  const choice = element("select", "", { "aria-label": label });
  for (const role of ROLES) choice.append(element("option", words[`role_${role}`], { value: role }));
  choice.value = account.role;
  choice.addEventListener("change", () => {
    change(account, { role: choice.value }).catch((error) => say(error.message, true));
  });
  return choice;
}

/** Makes somebody a member of a campaign, or ends that: only campaigns for members ask for it. */
function membershipOf(account) {
  const label = fill(words.campaigns_of, account);
  const choice = element("select", "", { "aria-label": label });
  choice.append(element("option", words.campaigns_choose, { value: "" }));
  for (const [method, text] of [["POST", words.add_to], ["DELETE", words.take_off]])
    for (const campaign of campaigns) {
      const option = element("option", fill(text, { campaign }));
      option.value = JSON.stringify([method, campaign]);
      choice.append(option);
    }
  choice.addEventListener("change", async () => {
    const [method, campaign] = JSON.parse(choice.value);
    choice.value = "";
    const path = `accounts/${account.labeler_id}/campaigns`;
    try {
      if (method === "POST") await call(method, path, { campaign });
      else await call(method, `${path}?${new URLSearchParams({ campaign })}`);
      say(words.done);
    } catch (error) {
      say(error.message, true);
    }
  });
  return choice;
}

function actionsOn(account) {
  const choices = element("span", "", { class: "choices" });
  choices.append(membershipOf(account));
  if (me.role !== "admin") return choices;
  const label = account.active ? words.close_account : words.open_account;
  choices.append(button(label, () => change(account, { active: !account.active })));
  if (account.active && !account.is_program) {
    choices.append(button(words.password_link, async () => {
      const link = await call("POST", `accounts/${account.labeler_id}/password-link`);
      reveal(words.password_link_made, link.url);
    }));
  }
  return choices;
}

async function showAccounts() {
  const accounts = await call("GET", "accounts");
  const rows = accounts.map((account) => {
    const who = element("span");
    who.append(element("code", account.labeler_id), element("span", account.login ?? "", { class: "hint" }));
    const state = element("span", account.active ? words.state_active : words.state_closed);
    const line = element("tr");
    for (const part of [who, roleOf(account), state, actionsOn(account)]) {
      const cell = element("td");
      cell.append(part);
      line.append(cell);
    }
    return line;
  });
  document.getElementById("accounts").replaceChildren(...rows);
}

onSubmit(form, async () => {
  const asked = { role: form.role.value, campaign: form.campaign.value || null, days: Number(form.days.value) };
  const link = await call("POST", "invitations", asked);
  await showInvitations();
  reveal(words.link_made, link.url);
});

async function start() {
  me = await visitor();
  if (me.role !== "admin") {
    for (const role of ["lead", "admin"]) form.querySelector(`option[value="${role}"]`).remove();
  }
  campaigns = (await call("GET", "campaigns")).map(({ name }) => name);
  for (const name of campaigns) form.campaign.append(element("option", name, { value: name }));
  await Promise.all([showInvitations(), showAccounts()]);
}

start().catch((error) => say(error.message, true));
