// The way into Gradio's Markdown slots: the guidelines, and the texts of both banks.

import { slotTexts } from "./view.js";

const UNSEEN_MS = 500; // a page that is not in view draws no frames

/** Returns what puts the texts of `shown()`, [guidelines, item, item], into their slots; it
 * resolves when they are drawn. `trigger` runs the events of the bridge. */
export function filler(trigger, shown) {
  let wanted = 0;
  let taken = 0;
  let drawn = null;
  window.rankingTexts = () => {
    taken = wanted;
    const [guidelines, ...items] = shown();
    return [guidelines, ...items.flatMap((item) => slotTexts(item))];
  };
  window.rankingTextsShown = () => taken === wanted && drawn?.();
  const once = () =>
    new Promise((resolve) => {
      wanted += 1;
      // What is triggered while Gradio still mounts its blocks can be lost: ask again.
      const again = setInterval(() => trigger("change"), 1000);
      drawn = () => {
        clearInterval(again);
        requestAnimationFrame(() => requestAnimationFrame(resolve));
        setTimeout(resolve, UNSEEN_MS);
      };
      trigger("change");
    });
  let last = Promise.resolve();
  return () => (last = last.then(once));
}
