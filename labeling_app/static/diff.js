// The words, or the sentences, in which two texts differ. No document here.

const MOST = 3000; // pieces of each text, once what they begin and end with alike is set aside

const words = (text) => text.match(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) ?? [];
const sentences = (text) => text.match(/[^.!?\n]*[.!?\n]+\s*|[^.!?\n]+$/gu) ?? [];

/** How two texts differ: `sides`, two lists of [text, changed], and `by` what they were compared:
 * "words", "sentences", or "nothing" where there are too many of either. */
export function textDiff(left, right) {
  const byWords = diff(words(left), words(right));
  if (byWords) return { by: "words", sides: byWords };
  const sides = diff(sentences(left), sentences(right));
  if (sides) return { by: "sentences", sides };
  return { by: "nothing", sides: [[[left, false]], [[right, false]]] };
}

function diff(a, b) {
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a.at(-1 - end) === b.at(-1 - end))
    end += 1;
  const n = a.length - start - end;
  const m = b.length - start - end;
  if (n > MOST || m > MOST) return null;
  const common = longestCommon(a.slice(start, start + n), b.slice(start, start + m));
  return [
    parts(a, start, n, new Set(common.map(([i]) => i))),
    parts(b, start, m, new Set(common.map(([, j]) => j))),
  ];
}

/** Index pairs of a longest common subsequence; time and memory are n times m. */
function longestCommon(a, b) {
  const width = b.length + 1;
  const best = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1)
    for (let j = b.length - 1; j >= 0; j -= 1)
      best[i * width + j] =
        a[i] === b[j]
          ? best[(i + 1) * width + j + 1] + 1
          : Math.max(best[(i + 1) * width + j], best[i * width + j + 1]);
  const pairs = [];
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    if (a[i] === b[j]) pairs.push([i++, j++]);
    else if (best[(i + 1) * width + j] >= best[i * width + j + 1]) i += 1;
    else j += 1;
  }
  return pairs;
}

function parts(all, start, count, kept) {
  const found = [];
  const add = (text, changed) => {
    if (found.at(-1)?.[1] === changed) found.at(-1)[0] += text;
    else if (text) found.push([text, changed]);
  };
  add(all.slice(0, start).join(""), false);
  for (let i = 0; i < count; i += 1) add(all[start + i], !kept.has(i));
  add(all.slice(start + count).join(""), false);
  return found;
}
