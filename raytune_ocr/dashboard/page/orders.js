// Orders to runs in progress: forms, and what the run answered.

import { order } from "page/api.js";
import { choice, fill, fillIfNew, h, labelOf } from "page/dom.js";
import { columns, refresh, store, when } from "page/store.js";

const NEEDS_TRIAL = ["stop", "pause", "resume"];

/** Send an order and show the answer in `answer`. */
async function send(run, content, answer) {
  answer.className = "answer";
  fill(answer, "sending …");
  try {
    const { accepted, reason } = await order(run, content);
    answer.className = `answer ${accepted ? "good" : "bad"}`;
    fill(answer, `${content.action}: ${accepted ? "accepted" : "refused"}${reason ? `, ${reason}` : ""}`);
    await refresh();
  } catch (error) {
    answer.className = "answer bad";
    fill(answer, error.message);
  }
}

/** The orders that a trial can get. */
export function trialOrders(trial) {
  if (store.readOnly) return null;
  const answer = h("p", { class: "answer", role: "status" });
  const give = (action, values = {}) => send(trial.run, { action, trial: trial.name, arguments: values }, answer);
  return h("div", { class: "orders" },
    h("div", { class: "controls" },
      NEEDS_TRIAL.map((action) => h("button", { type: "button", "data-order": action, onclick: () => give(action) }, capital(action))),
      oneValue("Extend to epoch", "number", trial.get("max_epochs"), (value) => give("extend", { epochs: Number(value) })),
      oneValue("Priority", "number", 0, (value) => give("priority", { priority: Number(value) })),
      oneValue("Note", "text", "", (text) => give("note", { text })),
      oneValue("Tag", "text", "", (tag) => give("tag", { tag }))),
    h("details", {}, h("summary", {}, "Clone with other settings"),
      settingsForm(trial, "Clone", (set, name) => give("clone", name ? { set, name } : { set }), answer)),
    answer);
}

/** The tags of a trial, each with a button that removes it. */
export function tagsOf(trial) {
  const tags = (trial.get("tags") ?? "").split(" ").filter(Boolean);
  if (store.readOnly || !tags.length) return null;
  const answer = h("span", { class: "answer", role: "status" });
  const remove = (tag) => send(trial.run, { action: "tag", trial: trial.name, arguments: { tag, remove: true } }, answer);
  return h("p", {}, tags.map((tag) => h("span", { class: "chosen" }, tag,
    h("button", { type: "button", "aria-label": `remove the tag ${tag} of ${trial.label}`, onclick: () => remove(tag) }, "×"))), answer);
}

/** The orders that a run can get. */
export function runOrders() {
  const [forms, answer] = [h("div"), h("p", { class: "answer", role: "status" })];
  const element = h("details", { class: "orders", hidden: true }, h("summary", {}, "Steer the run"), forms, answer);
  const update = () => {
    element.hidden = store.readOnly;
    if (!store.readOnly) fillIfNew(forms, [store.runs.map(({ name }) => name), settingIds()], make);
  };
  const make = () => {
    let run = 0;
    const which = store.runs.length > 1
      ? choice("run", store.runs.map(({ name }, at) => [at, name]), 0, (value) => { run = Number(value); }) : null;
    const give = (action, values, trial = null) => send(run, { action, trial, arguments: values }, answer);
    return [
      h("div", { class: "controls" }, which,
        oneValue("Epochs of all trials, at most", "number", "", (value) => give("budget", { epochs: Number(value) })),
        oneValue("Seconds, at most", "number", "", (value) => give("budget", { seconds: Number(value) })),
        oneValue("Cost, at most", "number", "", (value) => give("budget", { cost: Number(value) })),
        oneValue("Note on the run", "text", "", (text) => give("note", { text })),
        h("button", { type: "button", onclick: () => confirm("End the whole run? It can be resumed.") && give("stop", {}) }, "Stop the run")),
      h("h3", {}, "Add a trial"),
      settingsForm(null, "Add", (set, name) => give("add", { set }, name), answer)];
  };
  when("data", update);
  return element;
}

/** A field with a button of its own. */
function oneValue(label, type, value, give) {
  const input = h("input", { type, value: value ?? "", "aria-label": label, step: "any", size: "12" });
  return h("form", { class: "one", onsubmit: (event) => { event.preventDefault(); if (input.value !== "") give(input.value); } },
    input, h("button", {}, label));
}

/** A field for each setting that differs between trials, and one for others; a clone sends those that were changed. */
function settingsForm(trial, verb, give, answer) {
  const name = h("input", { type: "text", required: trial === null, placeholder: trial ? "by itself" : "", name: "name" });
  const inputs = settingIds().map((id) => [id, h("input", { type: "text", value: trial?.get(id) ?? "", name: id, size: "10" })]);
  const others = h("input", { type: "text", name: "others", size: "26", placeholder: "seed=3 batch_size=16" });
  const submit = (event) => {
    event.preventDefault();
    const changed = inputs.filter(([id, input]) => input.value !== "" && input.value !== String(trial?.get(id) ?? ""));
    const pairs = others.value.split(/\s+/).filter(Boolean).map((word) => /^([^=]+)=(.+)$/.exec(word) ?? word);
    const wrong = pairs.find((pair) => typeof pair === "string");
    if (wrong) {
      answer.className = "answer bad";
      fill(answer, `other settings: must be NAME=VALUE, got ${wrong}`);
      return;
    }
    give(Object.fromEntries([...changed.map(([id, input]) => [id.slice("settings.".length), input.value]), ...pairs.map(([, key, value]) => [key, value])]
      .map(([key, text]) => [key, parsed(text)])), name.value);
  };
  return h("form", { class: "order", "data-order": verb.toLowerCase(), onsubmit: submit },
    h("label", { class: "field" }, h("span", {}, "name"), name),
    inputs.map(([id, input]) => h("label", { class: "field" }, h("span", {}, labelOf(id)), input)),
    h("label", { class: "field" }, h("span", {}, "other settings"), others),
    h("button", {}, verb));
}

const settingIds = () => columns().filter(({ kind }) => kind === "setting").map(({ id }) => id);

function parsed(text) {
  if (text === "true" || text === "false") return text === "true";
  if (/^[[{]/.test(text)) {
    try {
      return JSON.parse(text);
    } catch {
      return text; // the run says what is wrong with it
    }
  }
  return text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
}

const capital = (word) => word[0].toUpperCase() + word.slice(1);
