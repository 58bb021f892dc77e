// What the pages about people share: asking the server, saying what happened, rows of a list.
// Whatever the server says reaches the page as text, never as markup.

export const words = JSON.parse(document.getElementById("texts").textContent);
const said = document.getElementById("said");

export const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);

export async function call(method, path, body) {
  let reply;
  try {
    reply = await fetch(`/api/${path}`, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Error(words.offline);
  }
  const told = await reply.json().catch(() => ({}));
  if (reply.status === 401 && location.pathname !== "/sign-in") signIn();
  if (!reply.ok) throw new Error(typeof told.detail === "string" ? told.detail : words.refused);
  return told;
}

function signIn() {
  location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
}

export function say(text, failed = false) {
  said.className = failed ? "failed" : "";
  said.textContent = text.charAt(0).toUpperCase() + text.slice(1);
}

// Runs what a button or form does, once at a time; a refusal is said.
export function doing(button, work) {
  return async (event) => {
    event?.preventDefault();
    if (button.getAttribute("aria-busy") === "true") return;
    button.setAttribute("aria-busy", "true");
    say("");
    try {
      await work();
    } catch (error) {
      say(error.message, true);
    } finally {
      button.removeAttribute("aria-busy");
    }
  };
}

export function onSubmit(form, work) {
  form.addEventListener("submit", doing(form.querySelector("button.go"), work));
}

export function element(tag, text = "", attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

export function button(label, work) {
  const made = element("button", label, { type: "button" });
  made.addEventListener("click", doing(made, work));
  return made;
}

export function row(title, hint, ...actions) {
  const what = element("span", "", { class: "what" });
  what.append(title, element("span", hint, { class: "hint" }));
  const made = element("li");
  made.append(what, ...actions);
  return made;
}

export function when(seconds) {
  const shown = { dateStyle: "medium", timeStyle: "short" };
  return new Date(seconds * 1000).toLocaleString(document.documentElement.lang, shown);
}

export function showOnce(place, secret) {
  const field = place.querySelector("input");
  field.value = secret;
  place.hidden = false;
  field.focus();
  field.select();
  place.querySelector("button").onclick = async () => {
    field.select();
    await navigator.clipboard?.writeText(secret);
    say(words.copied);
  };
}

// The header of those who are signed in; returns who that is.
export async function visitor() {
  const me = await call("GET", "me");
  const show = (name) => document.querySelectorAll(`[data-${name}]`).forEach((x) => (x.hidden = false));
  const leads = me.role === "lead" || me.role === "admin";
  if (me.by !== "machine") show("accounts");
  if (me.by !== "machine" && leads) show("lead");
  if (leads) show("dashboard");
  document.querySelector(`nav a[href="${location.pathname}"]`)?.setAttribute("aria-current", "page");
  const out = document.getElementById("sign-out");
  out.addEventListener("click", doing(out, async () => {
    await call("POST", "logout");
    location.assign("/sign-in");
  }));
  return me;
}
