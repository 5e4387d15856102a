// The runs at a glance: state, best trial, what made them, and in what they differ.

import { duration, fillIfNew, h, labelOf, plainTable, shown } from "page/dom.js";
import { byScore, columns, store } from "page/store.js";

const OPTIONS = ["search", "scheduler", "grace_period", "reduction_factor", "epoch_budget", "max_trials", "confirm", "warm_start"];

export function makeRuns() {
  const element = h("div");
  const head = () => ["", ...store.runs.map((run, at) => (store.runs.length > 1 ? `${at + 1}: ${run.name}` : run.name))];
  const state = () => store.runs.map((run) => [run.name, [...factsOf(run)], run.orders]);
  const update = () => fillIfNew(element, state(), () => [plainTable(head(), provenance(), "What made each run, and in what they differ"), ...orders()]);
  return { element, update };
}

/** Who ordered what, and when. */
function orders() {
  const rows = store.runs.flatMap((run) => run.orders.map(({ when, who, order }) => [when, run.name, who, order]));
  return rows.length ? [h("h3", {}, "Orders"), plainTable(["when (UTC)", "run", "who", "order"], rows, "Orders to the runs")] : [];
}

export function makeOverview() {
  const element = h("div", { class: "cards" });
  const update = () => fillIfNew(element, store.runs.map(({ name, version }) => [name, version]), () => store.runs.map(card));
  return { element, update };
}

function card(run) {
  const trials = [...run.trials.values()];
  const count = (status) => trials.filter((trial) => trial.get("status") === status).length;
  const best = trials.toSorted(byScore)[0];
  const states = ["running", "paused", "pending", "stopped", "completed", "failed"].map((status) => [status, count(status)]).filter(([, n]) => n);
  return h("article", { class: "card" },
    h("h3", {}, run.name),
    h("p", { class: "big" }, best?.get("score") === null || !best ? "no score yet" : `${run.metric} ${shown(best.get("score"))}`),
    h("p", {}, best?.get("score") === null || !best ? "" : `by ${best.name} after epoch ${shown(best.get("best_epoch"))}`),
    h("p", {}, trials.length ? states.map(([status, number]) => h("span", { class: `badge ${status}` }, `${number} ${status}`)) : "no trial has begun"),
    h("p", {}, `training time ${duration(trials.reduce((sum, trial) => sum + trial.get("seconds"), 0))}`),
    (run.results.targets ?? []).map(target),
    run.results.gone ? h("p", { class: "bad" }, run.results.gone) : null,
    run.notes || run.tags ? h("p", {}, `${run.tags} ${run.notes}`) : null,
    run.damaged ? h("p", { class: "bad" }, `${run.damaged} lines of the journal could not be read`) : null);
}

const target = ({ target: name, goal, value, met, trials: all }) => h("p", { class: met ? "good" : "" },
  `target ${name.replaceAll("_", " ")} ${shown(goal)}: ${shown(value)} by the winner; met by ${met} of ${all} trials`);

/** Rows whose first cell is a name; rows that differ between runs come first and are marked. */
function provenance() {
  const rows = store.runs.map(factsOf);
  const names = [...new Set(rows.flatMap((row) => [...row.keys()]))];
  const made = names.map((name) => [name, ...rows.map((row) => row.get(name) ?? null)]);
  const differs = ([, ...values]) => new Set(values.map(String)).size > 1;
  const marked = made.map(([name, ...values]) => [differs([name, ...values]) ? h("strong", {}, `${name} ≠`) : name, ...values]);
  return store.runs.length > 1 ? [...marked.filter((row, at) => differs(made[at])), ...marked.filter((row, at) => !differs(made[at]))] : marked;
}

function factsOf(run) {
  const last = (kind) => run.facts[kind]?.at(-1) ?? {};
  const [made, environment] = [last("command"), run.results.environment ?? {}];
  const trials = [...run.trials.values()];
  const best = trials.toSorted(byScore)[0];
  const sum = (id) => trials.reduce((total, trial) => total + (trial.get(id) ?? 0), 0);
  const hashes = (kind) => Object.entries(last(kind).fingerprints ?? {}).map(([name, hash]) => `${name} ${hash}`).join(", ");
  const facts = {
    command: made.command,
    "git commit": made.git_commit ? `${made.git_commit}${made.git_changes ? " with uncommitted changes" : ""}` : null,
    "started by": made.user ? `${made.user} on ${made.host}` : null,
    began: run.about.timestamp,
    "data (hash)": hashes("data"),
    "code (hash)": hashes("code"),
    versions: run.made_with.map(words).join("; ") || words(environment),
    "best score": best?.get("score"),
    "best trial": best?.name,
    trials: trials.length,
    epochs: sum("epochs"),
    "training time (s)": sum("seconds"),
    "CPU-hours": sum("cpu_hours"),
    "GPU-hours": sum("gpu_hours"),
    ...bestSettings(best),
    ...Object.fromEntries(OPTIONS.map((name) => [name.replaceAll("_", " "), text(run.about[name])])),
    folder: run.folder,
  };
  return new Map(Object.entries(facts).filter(([, value]) => value !== null && value !== undefined && value !== ""));
}

/** The settings of the best trial that differ between the trials of all runs. */
function bestSettings(best) {
  const settings = columns().filter(({ kind }) => kind === "setting");
  return Object.fromEntries(settings.map(({ id }) => [`best trial: ${labelOf(id)}`, best?.get(id)]));
}

const text = (value) => (Array.isArray(value) ? value.join(", ") : value);
const words = (values) => Object.entries(values).filter(([name]) => name !== "node").map(([name, value]) => `${name.replace("raytune_ocr", "raytune-ocr")} ${value}`).join(", ");
