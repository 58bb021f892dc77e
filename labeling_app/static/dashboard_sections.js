// The parts of the dashboard, each from what the server says to what is on the page.

import { el, fill, figure, hours, moment, number, percent, put, say, table, time } from "./dashboard_view.js";
import { clock, draw } from "./plots.js";

const part = (root, name) => root.querySelector(`#${name}`);
const lead = (section) => section.querySelector(".lead");
const COEFFICIENTS = ["strict", "with_ties", "alpha_pairs", "alpha_places", "tau"];
const SHARES = ["gold", "others", "consistency", "identical", "place", "length", "ties", "none"];
const HABITS = ["skips", "late", "corrections"];

function plot(place, data, caption, columns, rows) {
  place.hidden = data.points.length === 0;
  if (place.hidden) return;
  const drawing = place.querySelector(".drawing");
  const key = JSON.stringify([data, drawing.clientWidth]);
  say(place.querySelector("figcaption"), caption);
  if (place.dataset.drawn === key) return;
  place.dataset.drawn = key;
  draw(drawing, data);
  table(place.querySelector("table"), columns, rows);
}

export function overview(root, texts, said) {
  const { pace, progress, campaign } = said;
  const paused = !campaign.settings.open;
  const state = root.querySelector("header .state");
  say(state, paused ? texts.state_paused : texts.state_open);
  state.classList.toggle("paused", paused);
  say(root.querySelector('[data-action="pause"]'), paused ? texts.resume : texts.pause);
  const section = part(root, "progress");
  const share = progress.wanted ? Math.min(1, progress.done / progress.wanted) : 0;
  section.querySelector("progress").value = share;
  say(lead(section), progressSentence(texts, progress, pace, share));
  const facts = [
    [number(progress.labelers), texts.labelers_count],
    [number(pace.recent), texts.rate_hour],
    [number(progress.late), texts.late_count],
    [number(pace.reviews_done), put(texts.reviews_count, { wanted: number(pace.reviews_wanted) })],
  ];
  fill(section.querySelector(".facts"), facts, () =>
    facts.map(([value, name]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
  flagsAndSkips(root, texts, said);
  versions(root, texts, said.versions);
}

function progressSentence(texts, progress, pace, share) {
  if (!progress.wanted) return texts.progress_empty;
  const said = put(texts.progress_said, {
    done: number(progress.done), wanted: number(progress.wanted), share: percent(share),
  });
  const left = progress.wanted - progress.done;
  if (left <= 0) return `${said} ${texts.progress_done}`;
  if (pace.per_hour === null) return `${said} ${put(texts.progress_slow, { recent: pace.recent })}`;
  const rest = { rate: number(pace.per_hour), time: hours(left / pace.per_hour) };
  return `${said} ${put(texts.progress_rate, rest)}`;
}

function flagsAndSkips(root, texts, said) {
  const flags = part(root, "flags");
  say(lead(flags), said.flags.length ? "" : texts.flags_none);
  table(flags.querySelector("table"), [[texts.item], [texts.kind], [texts.note, "long"], [texts.who], [texts.when]],
    said.flags.map((flag) => [
      opener(texts, flag.of_item ?? flag.item_id, `flag ${flag.flagged_at}`), texts[`flag_${flag.kind}`] ?? flag.kind,
      flag.note, flag.labeler_id, moment(flag.flagged_at)]), said.flags);
  const skips = part(root, "skips_title");
  say(lead(skips), said.skips.length ? "" : texts.skips_none);
  table(skips.querySelector("table"), [[texts.reason, "long"], [texts.count, "number"]],
    said.skips.map((skip) => [skip.reason || texts.no_reason, number(skip.count)]));
}

function versions(root, texts, held) {
  table(part(root, "change").querySelector(".scroll table"),
    [[texts.version], [texts.note, "long"], [texts.by], [texts.when]],
    held.map((one) => [String(one.version), one.note || texts.made, one.changed_by, moment(one.changed_at)]));
}

export function opener(texts, item, key = "") {
  return el("button", {
    type: "button", "data-item": item, "data-key": `open ${item} ${key}`,
    "aria-label": put(texts.open_item, { item }),
  }, String(item));
}

export function quality(root, texts, said, facts) {
  if (!said.ready) return;
  const long = part(root, "progress").querySelector(".too-long");
  long.hidden = said.too_long === 0;
  say(long, put(texts.too_long, { count: number(said.too_long) }));
  answersPlot(root, texts, said, facts.progress.wanted);
  findings(root, texts, said);
  agreement(root, texts, said);
  disputes(root, texts, said, facts.campaign.reviewable);
  labelers(root, texts, said, facts.campaign.settings);
}

function answersPlot(root, texts, said, wanted) {
  const points = said.answers_by_time.map(([x, y]) => ({ x, y }));
  const caption = `${texts.plot_answers_caption} ${put(texts.counted, {
    time: time(said.counted_at), answers: number(said.answers), checks: number(said.checks),
  })}`;
  const span = points.length ? points.at(-1).x - points[0].x : 0;
  const data = {
    points: points.length > 1 ? points : [], line: true, target: wanted, targetName: texts.wanted.toLowerCase(), name: texts.plot_answers,
    xLabel: texts.plot_time, yLabel: texts.plot_answers_y,
  };
  const rows = points.filter((_, at) => at % 6 === 0 || at === points.length - 1);
  plot(part(root, "plot-answers"), data, caption, [[texts.until], [texts.plot_answers_y, "number"]],
    rows.map(({ x, y }) => [clock(x, Math.max(span, 2 * 86400 - 1)), number(y)]));
}

function findings(root, texts, said) {
  const section = part(root, "findings");
  const looked = { looked: number(said.looked_at), needed: said.labelers[0]?.seconds.needed ?? 20 };
  const none = said.looked_at ? texts.findings_none : texts.findings_early;
  say(lead(section), said.findings.length ? "" : put(none, looked));
  lead(section).hidden = said.findings.length > 0;
  fill(section.querySelector("ul"), said.findings, () =>
    said.findings.map((one) => el("li", {}, one.sentence)));
  say(section.querySelector(".note"), said.looked_at ? put(texts.findings_caption, looked) : "");
}

function agreement(root, texts, said) {
  const section = part(root, "agreement");
  const found = said.agreement;
  const known = found.strict.value !== null;
  say(lead(section), known ? put(texts.agreement_said, {
    strict: spelled(found.strict, percent), count: number(found.strict.count),
    prompts: number(found.strict.of),
  }) + (found.ceiling === null ? ""
    : ` ${put(texts.agreement_allows, { ceiling: percent(found.ceiling) })}`) : texts.agreement_none);
  const coefficient = (value) => value.toFixed(2).replace("-", "−");
  const rows = COEFFICIENTS.filter((name) => found[name].value !== null).map((name) => {
    const pairs = name === "strict" || name === "with_ties";
    const spell = pairs ? percent : coefficient;
    const unit = pairs ? texts.of_judgements : name === "tau" ? texts.of_items : texts.of_prompts;
    const span = found[name].interval;
    return [texts[name], spell(found[name].value), span ? `${spell(span[0])} to ${spell(span[1])}` : "–",
      put(unit, { count: number(found[name].count) })];
  });
  table(section.querySelector("table"),
    [[texts.measure, "long"], [texts.value, "number"], [texts.interval, "number"], [texts.cases, "number"]], rows);
  const periods = said.agreement_by_time.filter((period) => period.value !== null);
  const points = periods.map((period) => ({
    x: (period.start + period.end) / 2, y: period.value,
    ...(period.interval ? { low: period.interval[0], high: period.interval[1] } : {}),
  }));
  plot(part(root, "plot-agreement"), {
    points: points.length > 1 ? points : [], share: true, target: 0.5, targetName: texts.chance, name: texts.plot_agreement,
    xLabel: texts.plot_time, yLabel: texts.plot_agreement_y,
  }, put(texts.plot_agreement_caption, { items: periods[0]?.items }),
  [[texts.until], [texts.value, "number"], [texts.interval, "number"], [texts.cases, "number"]],
  periods.map((period) => [clock(period.end, 2 * 86400), percent(period.value),
    period.interval ? period.interval.map(percent).join(" to ") : "–",
    put(texts.of_items, { count: period.items })]));
}

const spelled = (found, spell) =>
  found.interval ? `${spell(found.value)} (${spell(found.interval[0])} to ${spell(found.interval[1])})` : spell(found.value);

function disputes(root, texts, said, reviewable) {
  const section = part(root, "disputes");
  say(lead(section), said.disputes.length ? "" : texts.disputes_none);
  section.querySelector(".note").hidden = said.disputes.length === 0 || !reviewable;
  root.querySelector("#ask-reviews").hidden = !reviewable;
  table(section.querySelector("table"),
    [[texts.item], [texts.prompt, "long"], [texts.agreed, "number"], [texts.labelers, "number"], [texts.review]],
    said.disputes.map((one) => [opener(texts, one.item_id, "dispute"), one.excerpt, percent(one.share),
      number(one.labelers), reviewOf(texts, one, reviewable)]), said.disputes);
}

function reviewOf(texts, one, reviewable) {
  if (one.review || !reviewable) return texts[`review_${one.review}`] ?? "";
  const key = { "data-review": one.item_id, "data-key": `review ${one.item_id}` };
  return el("button", { type: "button", ...key }, texts.ask_review);
}

function labelers(root, texts, said, settings) {
  const section = part(root, "labelers");
  const pay = settings.pay_per_answer;
  const marked = new Set(said.findings.map((one) => `${one.labeler_id} ${one.measure}`));
  const columns = ["who", "answers", ...SHARES, "seconds", "words_per_minute", ...HABITS, "per_hour",
    ...(pay ? ["pay"] : [])].map((name) => [put(texts[name], settings), name === "who" ? "" : "number"]);
  const seconds = (value) => (value < 100 ? `${Math.round(value)} s` : `${(value / 60).toFixed(1)} min`);
  const money = (value) => (value * pay).toFixed(2);
  const rows = said.labelers.map((one) => {
    const cell = (name, found, spell) =>
      figure(texts, found, spell, marked.has(`${one.labeler_id} ${name}`));
    return [one.labeler_id, number(one.answers),
      ...SHARES.map((name) => cell(name, one.shares[name], percent)),
      cell("seconds", one.seconds, seconds), cell("words_per_minute", one.words_per_minute, number),
      ...HABITS.map((name) => cell(name, one.shares[name], percent)),
      cell("per_hour", one.per_hour, number), ...(pay ? [cell("pay", one.per_hour, money)] : [])];
  });
  say(lead(section), rows.length ? "" : texts.labelers_none);
  table(section.querySelector("table"), columns, rows, [said.labelers, said.findings, pay, settings.currency]);
  const caption = put(texts.labelers_caption, { needed: said.labelers[0]?.seconds.needed });
  const promised = pay ? ` ${put(texts.pay_caption, { pay: `${pay} ${settings.currency}`.trim() })}` : "";
  say(section.querySelector(".note"), rows.length ? caption + promised : "");
}

export function itemRows(root, texts, said, keep) {
  const section = part(root, "all_items");
  say(lead(section), put(texts.items_found, { count: number(said.count) }));
  keep.push(...said.items);
  table(section.querySelector("table"),
    [[texts.item], [texts.prompt, "long"], [texts.kind], [texts.answers, "number"], [texts.wanted, "number"], [texts.priority, "number"]],
    keep.map((one) => [opener(texts, one.item_id, "list"), one.excerpt, texts[`kind_${one.kind}`],
      number(one.answers), one.kind === "gold" ? "–" : number(one.wanted), String(one.priority)]), keep);
  section.querySelector('[data-action="more"]').hidden = keep.length >= said.count;
}
