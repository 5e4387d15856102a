// The page: its sections, drawn when they are seen, and the clock that asks for news.

import { frozen } from "page/api.js";
import { fill, h } from "page/dom.js";
import { runOrders } from "page/orders.js";
import { makeConfirmation } from "page/sections/confirmation.js";
import { makeCurves } from "page/sections/curves.js";
import { makeFailures } from "page/sections/failures.js";
import { makeHistory, makePareto } from "page/sections/history.js";
import { makeImportance } from "page/sections/importance.js";
import { makeParallel } from "page/sections/parallel.js";
import { makeReader } from "page/sections/reader.js";
import { makeOverview, makeRuns } from "page/sections/runs.js";
import { makeSpace } from "page/sections/space.js";
import { makeTable } from "page/sections/table.js";
import { makeCosts, makeTimeline } from "page/sections/timeline.js";
import { makeTrial } from "page/sections/trial.js";
import { clearFilters, filter, get, refresh, select, set, store, visible, when } from "page/store.js";

const EVERY = 1000; // milliseconds between two questions for news
const SECTIONS = [
  ["overview", "Overview", makeOverview, "data"],
  ["trials", "Trials", () => ({ element: h("div", {}, runOrders(), makeTable((trial) => select([trial.key]))), update() {} }), ""],
  ["trial", "Selected trials", makeTrial, "data selection"],
  ["curves", "Learning curves", makeCurves, "data filter selection"],
  ["parallel", "Parallel coordinates", makeParallel, "data filter"],
  ["space", "Slice and contour", makeSpace, "data filter"],
  ["importance", "Importance of settings", makeImportance, "data"],
  ["history", "History", makeHistory, "data filter"],
  ["pareto", "Pareto front", makePareto, "data filter"],
  ["confirmation", "Confirmation and test split", makeConfirmation, "data"],
  ["timeline", "Timeline of trials", makeTimeline, "data filter"],
  ["costs", "Resources and cost", makeCosts, "data"],
  ["reader", "Errors of the best reader", makeReader, "data"],
  ["failures", "Failures", makeFailures, "data"],
  ["runs", "What made each run", makeRuns, "data"],
];

function start() {
  const state = h("span", { class: "state", role: "status" });
  const count = h("span", { class: "count", "aria-live": "polite" });
  const search = h("input", {
    type: "search", placeholder: "filter, such as lr<0.01", "aria-label": "Filter trials", value: get("q"),
    oninput: () => filter(search.value),
  });
  const clear = h("button", { type: "button", onclick: () => { search.value = ""; clearFilters(); } }, "Clear");
  const sections = SECTIONS.map(makeSection);
  fill(document.getElementById("page"),
    h("a", { class: "skip", href: "#main", onclick: (event) => { event.preventDefault(); document.getElementById("main").focus(); } }, "Skip to the content"),
    h("header", {}, h("h1", {}, "raytune_ocr"), state, h("div", { class: "filter" }, search, clear, count)),
    h("nav", { "aria-label": "Sections" }, sections.map(({ link }) => link)),
    h("main", { id: "main", tabindex: "-1" }, sections.map(({ section }) => section)));
  when("data filter", () => { count.textContent = `${visible().length} of ${store.trials.length} trials`; });
  const first = refresh().then(() => { markFirst(); shown(state); });
  first.then(() => get("section") && document.getElementById(`section-${get("section")}`)?.scrollIntoView());
  if (!frozen) first.finally(() => setTimeout(() => news(state), EVERY));
}

/**
 * A section and the link to it. It is drawn when it is seen, and drawn again when something changed
 * meanwhile; both are hidden while the runs have no such data.
 */
function makeSection([id, title, make, kinds]) {
  const section = h("section", { id: `section-${id}`, "aria-labelledby": `title-${id}` }, h("h2", { id: `title-${id}` }, title));
  const link = h("a", { href: `#section=${id}`, onclick: (event) => go(event, id) }, title);
  const view = make();
  let seen = false;
  let due = true;
  const failed = h("p", { class: "bad", role: "alert", hidden: true });
  const draw = (kind) => {
    if (!seen || !store.runs.length) {
      due = true;
      return;
    }
    due = false;
    soon(async () => {
      try {
        await view.update(kind);
        failed.hidden = true;
      } catch (error) {
        fill(failed, error.message);
        failed.hidden = false;
      }
    }, id);
  };
  if (view.has) when("data", () => { section.hidden = link.hidden = !view.has(); });
  if (kinds) when(`${kinds} clear`, draw);
  section.append(view.element, failed);
  new IntersectionObserver(([entry]) => {
    seen = entry.isIntersecting;
    if (seen && due) draw("data");
  }, { rootMargin: "100px" }).observe(section);
  return { section, link };
}

const waiting = new Map();

/** Draw sections one by one, so that keys and the table are answered in between. */
function soon(draw, id) {
  if (!waiting.size) setTimeout(next);
  waiting.set(id, draw);
}

async function next() {
  const [[id, draw]] = waiting;
  await draw();
  if (waiting.get(id) === draw) waiting.delete(id);
  if (waiting.size) setTimeout(next);
  else {
    performance.clearMarks("drawn");
    performance.mark("drawn");
  }
}

function go(event, id) {
  event.preventDefault();
  set("section", id);
  document.getElementById(`section-${id}`).scrollIntoView({ behavior: "smooth" });
}

async function news(state) {
  try {
    if (!document.hidden) await refresh();
    shown(state);
  } catch {
    const folders = store.runs.map(({ folder }) => (/^[\w./-]+$/.test(folder) ? folder : `"${folder}"`)).join(" ");
    state.textContent = `The server has ended; this is the last that it knew. Show the results: python -m raytune_ocr.dashboard ${folders}`;
  }
  setTimeout(() => news(state), EVERY);
}

function shown(state) {
  const names = store.runs.map((run) => run.name).join(", ");
  const running = store.trials.filter((trial) => trial.get("status") === "running").length;
  state.textContent = `${names}${running ? `, ${running} training` : ""}${frozen ? `, as of ${frozen.time}` : ""}`;
  document.title = `${names} – raytune_ocr`;
}

/** Leave a mark for measurements of the first paint. */
function markFirst() {
  requestAnimationFrame(() => requestAnimationFrame(() => performance.mark("first-data")));
}

start();
