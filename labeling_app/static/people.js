import { button, call, element, fill, onSubmit, row, say, showOnce, visitor, when, words } from "./shell.js";

const ROLES = ["labeler", "reviewer", "lead", "admin"];
const once = document.querySelector(".once");
const form = document.getElementById("invite-form");
let me;

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

function actionsOn(account) {
  const choices = element("span", "", { class: "choices" });
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
  for (const { name } of await call("GET", "campaigns")) {
    form.campaign.append(element("option", name, { value: name }));
  }
  await Promise.all([showInvitations(), showAccounts()]);
}

start().catch((error) => say(error.message, true));
