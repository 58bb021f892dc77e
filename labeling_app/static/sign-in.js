import { call, onSubmit } from "./shell.js";

// Only a page of this site may follow: a link must not lead elsewhere after the password.
function next() {
  const asked = new URLSearchParams(location.search).get("next") ?? "/";
  const found = new URL(asked, location.origin);
  return found.origin === location.origin ? found.pathname + found.search : "/";
}

const form = document.querySelector("form");
onSubmit(form, async () => {
  await call("POST", "login", { login: form.login.value, password: form.password.value });
  location.replace(next());
});
form.login.focus();
