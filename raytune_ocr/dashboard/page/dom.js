// Make elements and format values. Text is always text: nothing here parses HTML.

/** Make an element; `on...` properties are listeners, children that are no nodes become text. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Replace the children of an element. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined));
}

/** Fill an element anew only if `state` is another one, so that news take no focus away.
 * The control in the place of the one that had the focus gets it. */
export function fillIfNew(element, state, make) {
  const text = JSON.stringify(state);
  if (element.dataset.state === text) return;
  element.dataset.state = text;
  const [focused, open] = [all(element, CONTROLS).indexOf(document.activeElement), all(element, "details").map((each) => each.open)];
  fill(element, [make()].flat());
  if (focused >= 0) all(element, CONTROLS)[focused]?.focus({ preventScroll: true });
  for (const [at, each] of all(element, "details").entries()) each.open = open[at] ?? false;
}

const CONTROLS = "a, button, input, select, summary, textarea, [tabindex]";
const all = (element, kind) => [...element.querySelectorAll(kind)];

/** A labelled choice; `options` are [value, label] pairs. */
export function choice(label, options, value, onchange) {
  const select = h("select", { onchange: () => onchange(select.value) });
  for (const [each, text] of options) {
    select.append(h("option", { value: each, selected: String(each) === String(value) }, text));
  }
  return h("label", { class: "field" }, h("span", {}, label), select);
}

/** A labelled check box. */
export function check(label, value, onchange) {
  const box = h("input", { type: "checkbox", onchange: () => onchange(box.checked) });
  box.checked = Boolean(value);
  return h("label", { class: "field check" }, box, h("span", {}, label));
}

/** A table of texts; the first row is its head. */
export function plainTable(head, rows, caption) {
  return h("div", { class: "wide", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {},
      h("caption", { class: "unseen" }, caption),
      h("thead", {}, h("tr", {}, head.map((text) => h("th", { scope: "col" }, text)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell, at) =>
        at ? h("td", {}, shown(cell)) : h("th", { scope: "row" }, shown(cell))))))));
}

/** A value in few characters. */
export function shown(value) {
  if (value === null || value === undefined || value === "") return "–";
  if (value instanceof Node) return value;
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e9) return String(value);
  const size = Math.abs(value);
  return size >= 1e-3 && size < 1e6 ? String(+value.toPrecision(5)) : value.toExponential(3);
}

/** Seconds in words. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 120) return `${shown(+seconds.toFixed(1))} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A column's name as people say it. */
export function labelOf(id) {
  if (id === "metrics.seconds") return "seconds of the epoch";
  return id.replace(/^settings\.(parameters\.)?/, "").replace(/^metrics\./, "").replaceAll("_", " ");
}
