import { call, element, onSubmit, row, say, visitor, words } from "./shell.js";

function shown(campaign) {
  const states = [words[`mode_${campaign.mode}`] ?? campaign.mode];
  if (!campaign.is_open) states.push(words.paused);
  if (!campaign.may_work) states.push(words.not_member);
  if (!campaign.may_work) return row(campaign.name, states.join(" · "));
  const href = `/?campaign=${encodeURIComponent(campaign.name)}`;
  const label = `${words.work_on}: ${campaign.name}`;
  const link = element("a", words.work_on, { href, class: "go", "aria-label": label });
  return row(campaign.name, states.join(" · "), link);
}

async function start() {
  await visitor();
  const found = await call("GET", "campaigns");
  const rows = found.map(shown);
  if (rows.length === 0) rows.push(row(words.campaigns_none, ""));
  document.getElementById("campaigns").replaceChildren(...rows);
}

const form = document.getElementById("campaign-form");
onSubmit(form, async () => {
  const name = form.elements.name.value.trim();
  await call("POST", "lead/campaigns", { name, mode: form.elements.mode.value });
  location.assign(`/lead/?campaign=${encodeURIComponent(name)}`);
});

start().catch((error) => say(error.message, true));
