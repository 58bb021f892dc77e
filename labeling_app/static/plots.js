// Plots as SVG: axes with units, 95 % intervals, drawn for the width that is there.

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 250;
const MARGIN = { left: 58, right: 16, top: 12, bottom: 46 };
const DAY = 86400;

function node(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** At most `most` round numbers from `low` to `high`. */
export function ticks(low, high, most) {
  const rough = (high - low) / Math.max(1, most) || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step / 1e6; at += step) found.push(at);
  return found;
}

export function clock(seconds, span = 0) {
  const at = new Date(seconds * 1000);
  const time = at.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  const day = at.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
  if (span > 4 * DAY) return day;
  return span > DAY ? `${day} ${time}` : time;
}

/**
 * Draws `plot`: points {x, y, low?, high?} with x in seconds since the epoch, `line` to join them,
 * `target` with its `targetName` for a dashed line, `share` for a y axis from 0 to 100 %, labels of both axes, `name`
 * for who cannot see it.
 */
export function draw(place, plot) {
  const width = Math.max(280, place.clientWidth);
  const inner = { w: width - MARGIN.left - MARGIN.right, h: HEIGHT - MARGIN.top - MARGIN.bottom };
  const xs = plot.points.map((point) => point.x);
  const [first, last] = [Math.min(...xs), Math.max(...xs)];
  const reach = last - first || 1;
  const pad = plot.line ? 0 : reach * 0.04;
  const [begin, span] = [first - pad, reach + 2 * pad];
  const high = plot.share ? 1 : Math.max(plot.target ?? 0, ...plot.points.map((p) => p.y)) * 1.05;
  const low = plot.share ? Math.min(0.4, ...plot.points.map((point) => point.low ?? point.y)) : 0;
  const x = (value) => MARGIN.left + ((value - begin) / span) * inner.w;
  const y = (value) => MARGIN.top + (1 - (value - low) / (high - low)) * inner.h;
  const svg = node("svg", {
    viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", "aria-label": plot.name,
  });
  for (const at of ticks(low, high, 5)) {
    svg.append(node("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(at), y2: y(at) }));
    const said = plot.share ? `${Math.round(at * 100)} %` : at.toLocaleString("en-GB");
    svg.append(node("text", { class: "tick", x: MARGIN.left - 8, y: y(at) + 4, "text-anchor": "end" }, said));
  }
  const room = span > 4 * DAY ? 70 : span > DAY ? 110 : 64;
  const count = Math.max(2, Math.min(7, Math.floor(inner.w / room)));
  for (let part = 0; part < count; part += 1) {
    const at = begin + (span * part) / (count - 1);
    const anchor = part === 0 ? "start" : part === count - 1 ? "end" : "middle";
    svg.append(node("text", { class: "tick", x: x(at), y: HEIGHT - 26, "text-anchor": anchor }, clock(at, span)));
  }
  svg.append(node("text", { class: "axis", x: MARGIN.left + inner.w / 2, y: HEIGHT - 6, "text-anchor": "middle" }, plot.xLabel));
  svg.append(node("text", {
    class: "axis", transform: `translate(13 ${MARGIN.top + inner.h / 2}) rotate(-90)`, "text-anchor": "middle",
  }, plot.yLabel));
  if (plot.target !== undefined) {
    const at = y(plot.target);
    svg.append(node("line", { class: "target", x1: MARGIN.left, x2: width - MARGIN.right, y1: at, y2: at }));
    svg.append(node("text", { class: "tick", x: MARGIN.left + 6, y: at + 16 }, plot.targetName));
  }
  if (plot.line) {
    const path = plot.points.map((point, place) => `${place ? "L" : "M"}${x(point.x)} ${y(point.y)}`);
    svg.append(node("path", { class: "line", d: path.join("") }));
  } else {
    for (const point of plot.points) {
      if (point.low !== undefined)
        svg.append(node("line", { class: "span", x1: x(point.x), x2: x(point.x), y1: y(point.low), y2: y(point.high) }));
      svg.append(node("circle", { class: "point", cx: x(point.x), cy: y(point.y), r: 4 }));
    }
  }
  place.replaceChildren(svg);
}
