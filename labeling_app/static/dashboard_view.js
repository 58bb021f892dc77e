// Small pieces of the dashboard: elements, numbers, tables. Texts are only ever set as text.

const THIN = "\u202f";

export function el(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (key === "class") made.className = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export const put = (text, values) =>
  text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));

export const percent = (share) => `${Math.round(share * 100)}${THIN}%`;
export const number = (value) => Math.round(value).toLocaleString("en-GB");

export function time(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString("en-GB");
}

export function moment(iso) {
  return new Date(iso).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}

export function hours(value) {
  if (value < 1) return `${Math.max(1, Math.round(value * 60))} min`;
  return `${value.toFixed(value < 10 ? 1 : 0)} h`;
}

/** Builds the children of `parent` anew only where `data` has changed, and keeps the focus. */
export function fill(parent, data, build) {
  const said = JSON.stringify(data);
  if (parent.dataset.said === said) return;
  parent.dataset.said = said;
  const focused = parent.contains(document.activeElement) && document.activeElement.dataset.key;
  parent.replaceChildren(...build());
  if (focused) parent.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

/** Columns are [heading, class]; a row is a list of nodes or texts, its first cell the heading. */
export function table(place, columns, rows, data = rows) {
  fill(place, [columns, data], () => {
    const head = el("tr", {}, ...columns.map(([name, kind]) => el("th", { scope: "col", class: kind ?? "" }, name)));
    const body = rows.map((cells) => el("tr", {}, ...cells.map((cell, at) => {
      const props = { class: columns[at][1] ?? "", "data-label": columns[at][0] };
      if (cell instanceof HTMLTableCellElement) {
        cell.dataset.label = columns[at][0];
        return cell;
      }
      return at === 0 ? el("th", { ...props, scope: "row" }, cell) : el("td", props, cell);
    })));
    return [el("thead", {}, head), el("tbody", {}, ...body)];
  });
  place.hidden = rows.length === 0;
}

/** A value with its interval in small type below; what is not known says how much is missing. */
export function figure(texts, found, spell, marked = false) {
  if (found.value === null) {
    const missing = put(texts.too_few_long, found);
    return el("td", { class: "number unknown", title: missing }, texts.too_few, el("small", {}, missing));
  }
  const [low, high] = (found.interval ?? []).map(spell);
  const unit = high?.replace(/^[\d.,−]+/, "");
  const span = high && `${unit && low.endsWith(unit) ? low.slice(0, -unit.length) : low}–${high}`;
  const cell = el("td", { class: marked ? "number marked" : "number" }, el("b", {}, spell(found.value)));
  if (span) cell.append(el("small", {}, span));
  return cell;
}
