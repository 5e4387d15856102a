// The runs, the filter, the selection, and the part of the state that the URL keeps.

import { ask } from "page/api.js";

export const store = { runs: [], trials: [], readOnly: true };
const listeners = new Map();
const DEFAULTS = { sort: "score", x: "epoch", smooth: "0" };

/** Call `listener` when one of these happens: data, filter, selection. */
export function when(kinds, listener) {
  for (const kind of kinds.split(" ")) {
    if (!listeners.has(kind)) listeners.set(kind, new Set());
    listeners.get(kind).add(listener);
  }
}

function tell(kind) {
  for (const listener of listeners.get(kind) ?? []) listener(kind);
}

// What the URL keeps

const kept = new URLSearchParams(location.hash.slice(1));

/** A part of the state, as text. */
export function get(name) {
  return kept.get(name) ?? DEFAULTS[name] ?? "";
}

/** Set a part of the state; "" forgets it. */
export function set(name, value, kind = null) {
  if (value === "" || value === DEFAULTS[name]) kept.delete(name);
  else kept.set(name, value);
  history.replaceState(null, "", `#${kept}`);
  if (kind) tell(kind);
}

/** The keys of the selected trials. */
export function selection() {
  return get("sel") ? get("sel").split(",") : [];
}

/** Select a trial, or no longer. */
export function toggle(key) {
  const keys = selection();
  const others = keys.filter((each) => each !== key);
  set("sel", (others.length < keys.length ? others : [...keys, key].slice(-MOST)).join(","));
  tell("selection");
}

/** Select these trials and no others. */
export function select(keys) {
  set("sel", keys.join(","));
  tell("selection");
}

const MOST = 6; // trials beside each other

addEventListener("hashchange", () => location.reload()); // `set` changes it without this event

// Data

/** Take what changed since the last time; whether anything did. */
export async function refresh() {
  const since = store.runs.map((run) => run.version).join(",");
  const answer = await ask("state", { since });
  store.readOnly = answer.read_only;
  let changed = false;
  for (const [number, document] of answer.runs.entries()) {
    const run = store.runs[number];
    if (run && run.version >= document.version) continue; // a later answer was here before
    changed = true;
    const same = run?.generation === document.generation; // else it has all trials
    store.runs[number] = merged(same ? run : null, document, number);
  }
  if (changed) {
    store.trials = store.runs.flatMap((run) => [...run.trials.values()]);
    allColumns = columnsOf(store.runs);
    filtered = null;
    inBrushes.clear();
    tell("data");
  }
  return changed;
}

function merged(run, document, number) {
  const trials = run ? run.trials : new Map(); // each row has the columns of its time
  const index = new Map(document.columns.map((column, at) => [column.id, at]));
  for (const row of document.trials) trials.set(row[0], trialOf(row, index, number));
  return { ...document, number, trials, index, curves: run?.curves ?? new Map() };
}

function trialOf(row, index, run) {
  const name = row[0];
  return {
    run, name, key: `${run}/${name}`,
    get label() {
      return store.runs.length > 1 ? `${run + 1}: ${name}` : name;
    },
    get(id) {
      return row[index.get(id)] ?? store.runs[run]?.constants[id] ?? null;
    },
  };
}

let allColumns = [];

/** The columns of all runs, each once; settings in which only the runs differ are among them. */
export const columns = () => allColumns;

function columnsOf(runs) {
  const found = new Map();
  for (const run of runs) for (const column of run.columns) found.set(column.id, column);
  for (const id of new Set(runs.flatMap((run) => Object.keys(run.constants)))) {
    const values = new Set(runs.map((run) => JSON.stringify(run.constants[id])));
    if (!found.has(id) && values.size > 1) found.set(id, { id, kind: "setting" });
  }
  return [...found.values()];
}

/** The curves of a metric in a run, with those that changed since. */
export async function curvesOf(run, metric) {
  const held = run.curves.get(metric) ?? { generation: run.generation, version: 0, curves: {} };
  if (held.generation !== run.generation) Object.assign(held, { version: 0, curves: {}, generation: run.generation });
  if (held.version < run.version) {
    const version = run.version;
    const fresh = await ask("curves", { run: run.number, metric, since: held.version });
    Object.assign(held.curves, fresh);
    held.version = version;
    run.curves.set(metric, held);
  }
  return held.curves;
}

// The filter: words that a row has, and comparisons such as lr<0.01

const COMPARISON = /^([^<>=!~]+)(<=|>=|!=|=|<|>|~)(.*)$/;
let filtered = null;

/** The trials that the filter and, unless `without` is its view, every brush lets through. */
export function visible(without = null) {
  if (!filtered) {
    const tests = get("q").split(/\s+/).filter(Boolean).map(testOf);
    filtered = store.trials.filter((trial) => tests.every((test) => test(trial)));
  }
  let shown = filtered;
  for (const view of brushTests.keys()) {
    const keys = view === without ? null : inBrush(view);
    if (keys) shown = shown.filter((trial) => keys.has(trial.key));
  }
  return shown;
}

// Brushes: ranges in a view, kept in the URL; a trial that comes later is tested like the others

const brushTests = new Map(); // by view
const inBrushes = new Map(); // by view, keys of trials, until something changes

/** Let a view brush; `makeTest` makes a test of a trial from ranges. */
export function brushable(view, makeTest) {
  brushTests.set(view, makeTest);
}

/** The ranges that are brushed in a view, or null. */
export function rangesOf(view) {
  try {
    return JSON.parse(get(`brush.${view}`) || "null");
  } catch {
    return null; // a URL that somebody shortened
  }
}

/** The keys of the trials inside the ranges of a view; null: nothing is brushed. */
export function inBrush(view) {
  const ranges = rangesOf(view);
  if (!ranges) return null;
  if (!inBrushes.has(view)) {
    inBrushes.set(view, new Set(store.trials.filter(brushTests.get(view)(ranges)).map(({ key }) => key)));
  }
  return inBrushes.get(view);
}

/** Test the trials again, because what the ranges of a view are compared with has changed. */
export function brushAgain(view) {
  const before = inBrushes.get(view);
  inBrushes.delete(view);
  const now = inBrush(view);
  if (before && now && (before.size !== now.size || [...now].some((key) => !before.has(key)))) tell("filter");
}

/** Filter by text. */
export function filter(text) {
  filtered = null;
  set("q", text, "filter");
}

/** Filter by ranges in a view; null: all trials. */
export function brush(view, ranges) {
  if (!ranges && !rangesOf(view)) return;
  inBrushes.delete(view);
  set(`brush.${view}`, ranges ? JSON.stringify(ranges) : "", "filter");
}

/** Forget every filter. */
export function clearFilters() {
  inBrushes.clear();
  for (const view of brushTests.keys()) set(`brush.${view}`, "");
  filter("");
  tell("clear");
}

function testOf(word) {
  const parts = COMPARISON.exec(word);
  if (!parts) {
    const text = word.toLowerCase();
    return (trial) => WORDS.some((id) => String(trial.get(id) ?? "").toLowerCase().includes(text));
  }
  const [, name, operator, value] = parts;
  const ids = [...columns().map((column) => column.id), ...store.runs.flatMap((run) => Object.keys(run.constants))];
  const id = ids.find((each) => each === name) ?? ids.find((each) => each.endsWith(`.${name}`))
    ?? ids.find((each) => each.includes(name));
  return (trial) => id !== undefined && compares(trial.get(id), operator, value);
}

const WORDS = ["trial", "status", "stop_reason", "node", "tags", "notes", "error"];

function compares(held, operator, value) {
  if (operator === "~") return String(held ?? "").includes(value);
  const numbers = typeof held === "number" && value !== "" && !Number.isNaN(+value);
  const [a, b] = numbers ? [held, +value] : [String(held ?? ""), value];
  if (operator === "=") return a === b;
  if (operator === "!=") return a !== b;
  if (held === null || (typeof held === "number") !== numbers) return false;
  return { "<": a < b, ">": a > b, "<=": a <= b, ">=": a >= b }[operator];
}

// Scores

/** The trials that have a score. */
export const scored = (trials = store.trials) => trials.filter((trial) => trial.get("score") !== null);

/** Compare two trials: the better one first, those without a score last. */
export function byScore(a, b) {
  if (a.run !== b.run && store.runs[a.run].metric !== store.runs[b.run].metric) return a.run - b.run;
  const [x, y] = [meritOf(a), meritOf(b)];
  return y - x || 0;
}

/** The score of a trial, higher is better. */
export function meritOf(trial) {
  const score = trial.get("score");
  if (score === null) return -Infinity;
  return store.runs[trial.run].mode === "min" ? -score : score;
}
