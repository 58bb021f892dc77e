// What the server does not have yet, kept in this browser too, so that a crash loses nothing.

const NAME = "draft";
const KEPT_DAYS = 7; // longer, and the item has been answered elsewhere

/** The drafts of one labeler in one campaign. Others who use this browser are shown none of them. */
export class Kept {
  constructor(labelerId, campaign) {
    this.whose = [labelerId, campaign];
    attempt(forgetOld);
  }

  put(itemId, draft) {
    attempt(() => localStorage.setItem(this.name(itemId), JSON.stringify(draft)));
  }

  drop(itemId) {
    attempt(() => localStorage.removeItem(this.name(itemId)));
  }

  /** The newer one of the server's draft and of what is kept here. */
  newer(itemId, draft) {
    const here = attempt(() => JSON.parse(localStorage.getItem(this.name(itemId))));
    return here?.at > (draft?.at ?? 0) ? here : draft;
  }

  name(itemId) {
    return JSON.stringify([NAME, ...this.whose, itemId]);
  }
}

function forgetOld() {
  const oldest = Date.now() - KEPT_DAYS * 86_400_000;
  for (const name of Object.keys(localStorage)) {
    if (!name.startsWith(`["${NAME}",`)) continue;
    const { at } = attempt(() => JSON.parse(localStorage.getItem(name))) ?? {};
    if (!(at > oldest)) localStorage.removeItem(name);
  }
}

function attempt(work) {
  try {
    return work();
  } catch {
    return null; // no storage here, or a full one: the page alone holds it
  }
}
