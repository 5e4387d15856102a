// The table of trials: sorted, filtered, and drawn only where it is seen.

import { check, fill, fillIfNew, h, labelOf, shown } from "page/dom.js";
import { byScore, columns, get, selection, set, store, toggle, visible, when } from "page/store.js";

const ROW = 30; // pixels
const SCROLLBAR = 20; // pixels
const SPARE = 6; // rows above and below those that are seen
const FIRST = ["trial", "status", "score"];
const FIRST_OF_NARROW = ["trial", "score"];
const narrow = matchMedia("(max-width: 640px)");
const HIDDEN = ["best_epoch", "max_epochs", "search", "confirms", "began", "ended", "error", "gpu_hours", "parent", "notes",
  ...["learning_rate", "batch_size", "threads", "seconds", "images_per_second", "memory_mb", "cpu_percent", "gpu_memory_mb",
    "model_parameters", "cpus", "gpus", "cpu_kwh", "gpu_kwh"].map((name) => `metrics.${name}`)];
const WIDTHS = { status: 104, stop_reason: 116, epochs: 80, tags: 130 };
const LETTER = 9; // pixels

/** Make the table; `open` is called with a trial that was chosen. */
export function makeTable(open) {
  const body = h("div", { class: "rows", role: "rowgroup", onclick: choose, onmouseover: nameWhole });
  const head = h("div", { class: "head", role: "row" });
  const grid = h("div", {
    class: "grid", role: "grid", tabindex: "0", "aria-label": "Trials", "aria-multiselectable": "true",
    onscroll: () => draw(), onkeydown: keys,
  }, head, body);
  const picker = h("details", { class: "picker" }, h("summary", {}, "Columns"), h("div", { class: "checks" }));
  let rows = [];
  let active = 0;
  let activeKey = null; // of the trial there, once a user has gone to it
  let several = false; // a click adds to the selection

  function shownColumns() {
    const all = columns();
    const first = narrow.matches ? FIRST_OF_NARROW : FIRST;
    const kept = get("cols") ? new Set(get("cols").split(",")) : null;
    const of = (kind) => all.filter((column) => column.kind === kind && !first.includes(column.id));
    const ordered = [...first.map((id) => ({ id, kind: "info" })), ...of("setting"), ...of("info"), ...of("metric")];
    return ordered.filter(({ id }) => (kept ? kept.has(id) || id === "trial" : !isHidden(id)));
  }

  function isHidden(id) {
    return HIDDEN.includes(id) || id === `metrics.${scoreLabel()}` || (id === "node" && !store.trials.some((trial) => trial.get(id)));
  }

  function sorted() {
    const [id, down] = [get("sort"), get("desc") === "1"];
    const trials = [...visible()];
    if (id === "score") trials.sort(byScore);
    else trials.sort((a, b) => compare(a.get(id), b.get(id)));
    return down ? trials.reverse() : trials;
  }

  function update() {
    rows = sorted();
    const at = rows.findIndex(({ key }) => key === activeKey);
    active = at >= 0 ? at : Math.min(active, Math.max(0, rows.length - 1));
    drawHead();
    grid.style.height = `min(26rem, 65vh, ${(rows.length + 1) * ROW + SCROLLBAR}px)`;
    body.style.height = `${rows.length * ROW}px`;
    grid.setAttribute("aria-rowcount", String(rows.length + 1));
    draw();
  }

  function drawHead() {
    const shownNow = shownColumns();
    grid.style.setProperty("--columns", shownNow.map(({ id }) => `${WIDTHS[id] ?? widthOf(id)}px`).join(" "));
    fillIfNew(head, [shownNow, get("sort"), get("desc"), scoreLabel()], () => shownNow.map(({ id, kind }) => {
      const mine = get("sort") === id;
      const highestFirst = id === "score" && store.runs[0]?.mode !== "min"; // the best is the first
      const order = highestFirst === (get("desc") === "1") ? "ascending" : "descending";
      return h("div", { role: "columnheader", "aria-sort": mine ? order : "none", class: `cell ${kind}`, title: id },
        h("button", { type: "button", onclick: () => sortBy(id) },
          id === "score" ? scoreLabel() : labelOf(id), mine ? (order === "ascending" ? " ▲" : " ▼") : ""));
    }));
  }

  /** Wide enough for the name of a column, or for the trials' names. */
  function widthOf(id) {
    if (id !== "trial") return clamp((id === "score" ? scoreLabel() : labelOf(id)).length * LETTER + 34, 100, 260);
    return clamp(Math.max(...store.trials.map(({ label }) => label.length)) * LETTER + 20, 110, narrow.matches ? 200 : 300);
  }

  function sortBy(id) {
    set("desc", get("sort") === id && get("desc") !== "1" ? "1" : "");
    set("sort", id);
    update();
  }

  function draw() {
    const first = Math.max(0, Math.floor(grid.scrollTop / ROW) - SPARE);
    const last = Math.min(rows.length, first + Math.ceil(grid.clientHeight / ROW) + 2 * SPARE);
    const shownNow = shownColumns();
    const chosen = new Set(selection());
    if (active >= first && active < last) grid.setAttribute("aria-activedescendant", `row-${active}`);
    else grid.removeAttribute("aria-activedescendant");
    fill(body, rows.slice(first, last).map((trial, at) => drawRow(trial, first + at, shownNow, chosen)));
  }

  function drawRow(trial, number, shownNow, chosen) {
    const row = h("div", {
      class: `row${number === active ? " active" : ""}`, role: "row", "aria-rowindex": String(number + 2),
      "aria-selected": String(chosen.has(trial.key)), "data-trial": trial.name,
      "data-number": String(number), id: `row-${number}`,
    }, shownNow.map(({ id, kind }) => h("div", {
      class: `cell ${kind}${typeof trial.get(id) === "number" ? " number" : ""} ${id === "status" ? trial.get(id) : ""}`,
      role: id === "trial" ? "rowheader" : "gridcell",
    }, cell(trial, id))));
    row.style.transform = `translateY(${number * ROW}px)`;
    return row;
  }

  /** Let a cell that is too narrow for its text have it as a tooltip. */
  function nameWhole({ target }) {
    if (target.scrollWidth > target.clientWidth) target.title = target.textContent;
  }

  /** Open the row under the pointer: news may have replaced it since the button went down. */
  function choose({ clientX, clientY, ctrlKey, metaKey }) {
    const row = document.elementFromPoint(clientX, clientY)?.closest(".row");
    if (!row) return;
    go(Number(row.dataset.number));
    if (several || ctrlKey || metaKey) toggle(rows[active].key);
    else open(rows[active]);
    draw();
  }

  function go(number) {
    active = number;
    activeKey = rows[number]?.key ?? null;
  }

  function keys(event) {
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -rows.length, End: rows.length };
    if (event.target !== grid) return;
    if (event.key in moves) {
      go(Math.max(0, Math.min(rows.length - 1, active + moves[event.key])));
      const top = active * ROW;
      if (top < grid.scrollTop) grid.scrollTop = top;
      if (top + 2 * ROW > grid.scrollTop + grid.clientHeight) grid.scrollTop = top + 2 * ROW - grid.clientHeight;
      draw();
    } else if (event.key === "Enter" && rows[active]) open(rows[active]);
    else if (event.key === " " && rows[active]) toggle(rows[active].key);
    else return;
    event.preventDefault();
  }

  function drawPicker() {
    const now = new Set(shownColumns().map(({ id }) => id));
    fill(picker.lastChild, columns().filter(({ id }) => id !== "trial").map(({ id }) =>
      check(id === "score" ? scoreLabel() : labelOf(id), now.has(id), (on) => {
        if (on) now.add(id); else now.delete(id);
        set("cols", [...now].join(","));
        update();
      })));
  }

  picker.addEventListener("toggle", drawPicker);
  when("data filter", update);
  when("selection", draw);
  new ResizeObserver(draw).observe(grid);
  return h("div", {}, h("div", { class: "above" }, picker, check("Choose several", several, (on) => { several = on; })), grid);
}

/** What the score is called. */
export function scoreLabel() {
  return store.runs[0]?.metric || "score";
}

function cell(trial, id) {
  const value = trial.get(id);
  if (id === "trial") return trial.label;
  if (id === "epochs") return `${shown(value)}/${shown(trial.get("max_epochs"))}`;
  return shown(value);
}

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

function compare(a, b) {
  if (a === b) return 0;
  if (a === null) return 1;
  if (b === null) return -1;
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), undefined, { numeric: true });
}
