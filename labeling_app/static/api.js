// The server's routes. A refusal is an Error whose message is fit to be read by the labeler.

const TIMEOUT_MS = 15000;

async function call(path, method, body, texts) {
  let reply;
  try {
    reply = await fetch(new URL(`api/${path}`, document.baseURI), {
      method,
      headers: { "Content-Type": "application/json" },
      body: method === "POST" ? JSON.stringify(body ?? {}) : undefined,
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch {
    throw new Error(texts.offline);
  }
  const said = await reply.json().catch(() => ({}));
  if (!reply.ok) throw new Error(typeof said.detail === "string" ? said.detail : texts.refused);
  return said;
}

export const campaign = () => call("campaign", "GET", null, {});

export function routes(texts) {
  return {
    next: (after) => call(after === null ? "next" : `next?after=${after}`, "POST", {}, texts),
    submit: (answer) => call("submit", "POST", answer, texts),
    skip: (item_id, reason) => call("skip", "POST", { item_id, reason }, texts),
  };
}
