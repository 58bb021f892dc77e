// The server's routes. A refusal is an Error whose message is fit to be read by the labeler;
// `lost` says that the server was not reached or cannot answer now, so that asking again may help.

const TIMEOUT_MS = 15000;

function address(path, values = {}) {
  const url = new URL(`api/${path}`, document.baseURI);
  const campaign = new URLSearchParams(location.search).get("campaign");
  if (campaign !== null) url.searchParams.set("campaign", campaign);
  for (const [name, value] of Object.entries(values))
    if (value !== undefined && value !== null && value !== false) url.searchParams.set(name, value);
  return url;
}

function failure(message, status, lost) {
  return Object.assign(new Error(message), { status, lost });
}

async function call(url, body, texts) {
  let reply;
  try {
    reply = await fetch(url, {
      method: body === undefined ? "GET" : "POST",
      headers: { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch {
    throw failure(texts.offline, 0, true);
  }
  const said = await reply.json().catch(() => ({}));
  if (reply.ok) return said;
  if (reply.status === 401) throw failure(texts.signed_out, 401, false);
  const reason = typeof said.detail === "string" ? said.detail : texts.refused;
  throw failure(reason, reply.status, reply.status >= 500);
}

/** The campaign; `texts` are those of an earlier reply, where there was one. */
export const campaign = (texts = {}) => call(address("campaign"), undefined, texts);

export function routes(texts) {
  const post = (path, body, values) => call(address(path, values), body, texts);
  const get = (path, values) => call(address(path, values), undefined, texts);
  return {
    next: (after, review) => post("next", {}, { after, review }),
    submit: (answer, values) => post("submit", answer, values),
    skip: (item_id, reason) => post("skip", { item_id, reason }),
    flag: (item_id, kind, note) => post("flag", { item_id, kind, note }),
    draft: (item_id, draft) => post("draft", { item_id, draft }),
    heartbeat: (item_ids) => post("heartbeat", { item_ids }),
    mine: (limit, offset) => get("mine", { limit, offset }),
    item: (item_id) => get(`items/${item_id}`),
    consent: (guidelines_version) => post("consent", { guidelines_version }),
    told: (version) => post("told", { version }),
  };
}

/** Sends a draft while the page goes away. */
export function lastDraft(item_id, draft) {
  const body = new Blob([JSON.stringify({ item_id, draft })], { type: "application/json" });
  navigator.sendBeacon(address("draft"), body);
}
