// Light or dark: as the system wishes, until the labeler chooses; the choice is remembered.

const KEY = "theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // no storage here: the system's wish holds
  }
}

export function applyTheme() {
  const on = stored() === null ? dark.matches : stored() === "dark";
  for (const element of [document.documentElement, document.body])
    element?.classList.toggle("dark", on);
}

export function toggleTheme() {
  const next = document.body.classList.contains("dark") ? "light" : "dark";
  try {
    localStorage.setItem(KEY, next);
  } catch {
    document.body.classList.toggle("dark", next === "dark");
    return;
  }
  applyTheme();
}

// After Gradio, which follows the system on its own.
dark.addEventListener("change", () => setTimeout(applyTheme));
applyTheme();
