import { button, call, fill, onSubmit, row, say, showOnce, visitor, when, words } from "./shell.js";

const lists = { sessions: document.getElementById("sessions"), tokens: document.getElementById("tokens") };

async function show(kind) {
  const held = await call("GET", kind);
  const label = kind === "sessions" ? words.end_session : words.end_token;
  const rows = held.map((one) => {
    const used = fill(words.last_used, { when: when(one.seen_at) });
    const hint = `${used} · ${fill(words.ends, { when: when(one.expires_at) })}`;
    if (one.is_this) return row(one.name, `${words.this_session} · ${hint}`);
    return row(one.name, hint, button(label, async () => {
      await call("DELETE", `${kind}/${one.id}`);
      await show(kind);
      say(words.done);
    }));
  });
  if (rows.length === 0) rows.push(row("", words.tokens_none));
  lists[kind].replaceChildren(...rows);
}

const passwordForm = document.getElementById("password-form");
onSubmit(passwordForm, async () => {
  await call("POST", "password", { old: passwordForm.old.value, new: passwordForm.new.value });
  passwordForm.reset();
  await Promise.all([show("sessions"), show("tokens")]);
  say(words.password_changed);
});

const tokenForm = document.getElementById("token-form");
onSubmit(tokenForm, async () => {
  const asked = { name: tokenForm.elements.name.value, days: Number(tokenForm.days.value) };
  const made = await call("POST", "tokens", asked);
  await show("tokens");
  showOnce(document.querySelector(".once"), made.token);
});

async function start() {
  const me = await visitor();
  const role = words[`role_${me.role}`];
  document.getElementById("lead").textContent = fill(words.account_lead, { ...me, role });
  await Promise.all([show("sessions"), show("tokens")]);
}

start().catch((error) => say(error.message, true));
