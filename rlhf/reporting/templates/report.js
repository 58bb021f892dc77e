// Filters over the samples; without this script the page shows the same samples, unfiltered.
(() => {
  const section = document.getElementById("samples-section");
  if (!section) return;
  const bar = section.querySelector(".filters");
  const count = section.querySelector(".shown-count");
  const more = section.querySelector(".more");
  const list = section.querySelector(".sample-list");
  const rest = section.querySelector("details.rest");
  const page = 12;
  let room = Number(list.dataset.first);

  if (rest) {
    for (const sample of rest.querySelectorAll(".sample")) list.append(sample);
    rest.remove();
  }
  const samples = [...list.querySelectorAll(".sample")];
  const chosen = (name) => bar.elements.namedItem(name).value;

  function suits(answer, policy, outcome) {
    if (answer.dataset.policy === "reference") return false;
    if (policy && answer.dataset.policy !== policy) return false;
    if (outcome === "suspicious") return "suspicious" in answer.dataset;
    return !outcome || answer.dataset.outcome === outcome;
  }

  function show() {
    const [family, policy, outcome] = ["family", "policy", "outcome"].map(chosen);
    let found = 0;
    for (const sample of samples) {
      const answers = [...sample.querySelectorAll(".answer")];
      const fits =
        (!family || sample.dataset.family === family) &&
        answers.some((answer) => suits(answer, policy, outcome));
      if (fits) found += 1;
      sample.hidden = !fits || found > room;
      for (const answer of answers) {
        const its = answer.dataset.policy;
        answer.hidden = policy !== "" && its !== policy && its !== "reference";
      }
    }
    const shown = Math.min(found, room);
    count.textContent = found ? `${shown} of ${found} shown` : "No sample is like that.";
    more.hidden = found <= room;
    more.textContent = `Show ${Math.min(page, found - room)} more`;
  }

  bar.hidden = false;
  bar.addEventListener("change", () => {
    room = page;
    show();
  });
  bar.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", () => {
    room += page;
    show();
  });
  // What is printed is the dozen that the page chose, filters or not.
  window.addEventListener("beforeprint", () => {
    for (const sample of samples) sample.hidden = sample.classList.contains("extra");
  });
  window.addEventListener("afterprint", show);
  show();
})();
