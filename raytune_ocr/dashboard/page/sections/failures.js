// The trials that failed, each with its error.

import { fillIfNew, h, plainTable } from "page/dom.js";
import { select, store } from "page/store.js";

const MOST = 500; // letters of an error

export function makeFailures() {
  const element = h("div");
  const failed = () => store.trials.filter((trial) => trial.get("error"));
  const open = (trial) => {
    select([trial.key]);
    document.getElementById("section-trial").scrollIntoView();
  };

  function update() {
    const trials = failed();
    fillIfNew(element, trials.map((trial) => [trial.key, trial.get("error")]), () => plainTable(["trial", "error"], trials.map((trial) => [
      h("button", { type: "button", class: "link", onclick: () => open(trial) }, trial.label), trial.get("error").slice(0, MOST)]), "Trials that failed"));
  }

  return { element, update, has: () => failed().length > 0 };
}
