import { call, fill, onSubmit, say, words } from "./shell.js";

const form = document.querySelector("form");
const lead = document.getElementById("lead");
const token = location.hash.slice(1);
const forPassword = token.startsWith("password-");

function ask(title, text, action) {
  document.querySelector("h1").textContent = title;
  document.title = title;
  lead.textContent = text;
  form.querySelector("button.go").textContent = action;
  form.hidden = false;
}

async function offer() {
  const found = await call("POST", "invitations/look", { token });
  const role = words[`role_${found.role}`];
  const text = found.campaign === null ? words.invitation_lead : words.invitation_campaign;
  ask(words.invitation_title, fill(text, { role, campaign: found.campaign }), words.accept);
  document.getElementById("pseudonym").hidden = false;
  form.login.focus();
}

function askPassword() {
  form.login.closest(".field").remove();
  ask(words.new_password_title, words.new_password_lead, words.set_password);
}

onSubmit(form, async () => {
  const password = form.password.value;
  if (forPassword) {
    await call("POST", "invitations/password", { token, password });
    form.hidden = true;
    say(words.password_set);
    return;
  }
  await call("POST", "invitations/accept", { token, login: form.login.value, password });
  location.replace("/"); // and the link leaves the history
});

addEventListener("hashchange", () => location.reload());
if (token === "") say(words.invitation_none, true);
else if (forPassword) askPassword();
else offer().catch((error) => say(error.message, true));
