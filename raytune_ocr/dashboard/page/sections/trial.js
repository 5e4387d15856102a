// The selected trials beside each other, their logs, and the orders to them.

import { ask, frozen } from "page/api.js";
import { fill, fillIfNew, h, labelOf, plainTable, shown } from "page/dom.js";
import { tagsOf, trialOrders } from "page/orders.js";
import { columns, select, selection, store, toggle } from "page/store.js";

const FACTS = ["status", "stop_reason", "score", "best_epoch", "epochs", "seconds", "cpu_hours", "gpu_hours", "node", "parent", "error", "tags", "notes"];

export function makeTrial() {
  const empty = h("p", { class: "hover" }, "Choose a trial in the table or in a chart: its settings, log and orders appear here. Choose several with “Choose several”, a click with Ctrl, the space bar or “Compare with”.");
  const [top, tags, facts, logs] = [h("div"), h("div"), h("div"), h("div", { class: "logs" })];
  const element = h("div", {}, empty, top, tags, facts, logs);

  function update() {
    const chosen = selection().map((key) => store.trials.find((trial) => trial.key === key)).filter(Boolean);
    empty.hidden = chosen.length > 0;
    const failed = chosen.filter((trial) => trial.get("error"));
    fillIfNew(top, chosen.map(({ key }) => key), () => (chosen.length ? [
      h("div", { class: "controls" }, chosen.map(head), others(chosen)),
      chosen.length === 1 ? trialOrders(chosen[0]) : null,
    ] : []));
    fillIfNew(tags, chosen.map((trial) => [trial.key, trial.get("tags")]), () => chosen.map(tagsOf));
    fillIfNew(facts, chosen.map(valuesOf), () => (chosen.length ? [comparison(chosen), constants(chosen)] : []));
    fillIfNew(logs, failed.map(({ key }) => key), () => failed.map(log));
  }

  return { element, update };
}

function head(trial) {
  return h("span", { class: "chosen" }, trial.label,
    h("button", { type: "button", "aria-label": `deselect ${trial.label}`, onclick: () => toggle(trial.key) }, "×"));
}

function others(chosen) {
  const names = h("datalist", { id: "other-trials" });
  const keys = chosen.map(({ key }) => key);
  const compare = () => {
    const other = store.trials.find(({ key, label }) => label === field.value && !keys.includes(key));
    if (other) select([...keys, other.key]);
  };
  const field = h("input", {
    list: names.id, placeholder: "Compare with …", "aria-label": "Compare with", size: "16", onchange: compare,
    onfocus: () => fill(names, store.trials.map(({ label }) => h("option", { value: label }))),
  });
  return h("span", { class: "field" }, field, names);
}

const valuesOf = (trial) => [trial.key, ...[...columns().map(({ id }) => id), ...FACTS].map((id) => trial.get(id))];

/** The settings that all trials of these runs have in common. */
function constants(chosen) {
  const differing = new Set(columns().map(({ id }) => id));
  const all = Object.assign({}, ...chosen.map((trial) => store.runs[trial.run].constants));
  const rows = Object.entries(all).filter(([id, value]) => !differing.has(id) && value !== null && value !== "");
  return rows.length ? h("details", {}, h("summary", {}, `${rows.length} settings that are the same in all trials`),
    plainTable(["setting", "value"], rows.map(([id, value]) => [labelOf(id), value]), "Settings that are the same in all trials")) : null;
}

/** Facts, settings and metrics, a column a trial; of several trials the settings that differ first. */
function comparison(chosen) {
  const row = (id) => [labelOf(id), ...chosen.map((trial) => trial.get(id))];
  const present = ([, ...values]) => values.some((value) => value !== null && value !== "");
  const differs = ([, ...values]) => new Set(values.map(String)).size > 1;
  const of = (kind) => columns().filter((column) => column.kind === kind).map(({ id }) => row(id)).filter(present);
  const settings = of("setting");
  const marked = settings.filter(differs).map(([name, ...values]) => [h("strong", {}, chosen.length > 1 ? `${name} ≠` : name), ...values]);
  const rows = [...(chosen.length > 1 ? marked : []), ...settings.filter((each) => chosen.length === 1 || !differs(each)),
    ...FACTS.map(row).filter(present), ...of("metric")];
  const title = chosen.length > 1 ? "Differences between the selected trials" : `Settings and metrics of ${chosen[0].label}`;
  return plainTable(["", ...chosen.map(({ label }) => label)], rows, title);
}

function log(trial) {
  const text = h("pre", { tabindex: "0" }, shown(trial.get("error")));
  const show = async () => {
    const answer = await ask("log", { run: trial.run, trial: trial.name });
    fill(text, answer.log || "There is no error log in the run's folder.");
    button.hidden = true;
  };
  const button = h("button", { type: "button", onclick: show }, "Show the log");
  return h("section", {}, h("h3", {}, `Error of ${trial.label}`), frozen && !frozen.logs[trial.run][trial.name] ? null : button, text);
}
