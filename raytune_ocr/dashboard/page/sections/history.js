// The best score so far, and the Pareto front of any two columns.

import { axis, Chart, css, FAINT, runColor, tooltip, upright } from "page/charts.js";
import { check, choice, fill, fillIfNew, h, labelOf, shown } from "page/dom.js";
import { columns, get, meritOf, scored, select, set, store, visible } from "page/store.js";
import { scoreLabel } from "page/sections/table.js";

const LOWER = /loss|error|cer|wer|mae|mse|seconds|hours|memory|epochs|parameters|time|kwh|cost|latency/;

export function makeHistory() {
  const chart = new Chart("Score of each trial in order, and the best so far", draw);
  chart.on("click", ({ value }) => value?.[2] && select([value[2]]));

  function draw() {
    const series = store.runs.flatMap((run) => ofRun(run));
    if (!series.length) return null;
    return {
      tooltip: tooltip(({ value, seriesName }) => `${value[3] ?? seriesName}\n${shown(value[1])}`),
      legend: store.runs.length > 1 ? { top: 0, textStyle: { color: css("--text") } } : undefined,
      grid: { left: 8, right: 18, top: store.runs.length > 1 ? 64 : 30, bottom: 42, containLabel: true },
      xAxis: axis("trial, in the order of their start", { minInterval: 1 }),
      yAxis: upright(scoreLabel()),
      series,
    };
  }

  function ofRun(run) {
    const order = new Map([...run.trials.keys()].map((name, at) => [name, at + 1]));
    const trials = visible().filter((trial) => trial.run === run.number && trial.get("score") !== null);
    if (!trials.length) return [];
    trials.sort((a, b) => order.get(a.name) - order.get(b.name));
    let best = -Infinity;
    const steps = trials.flatMap((trial) => {
      if (meritOf(trial) <= best) return [];
      best = meritOf(trial);
      return [[order.get(trial.name), trial.get("score")]];
    });
    steps.push([order.get(trials.at(-1).name), steps.at(-1)[1]]);
    const color = runColor(run.number);
    return [
      { type: "scatter", name: run.name, symbolSize: 5, itemStyle: { color, opacity: FAINT }, data: trials.map((trial) => [order.get(trial.name), trial.get("score"), trial.key, trial.label]) },
      { type: "line", name: `${run.name}, best so far`, step: "end", symbol: "none", lineStyle: { color, width: 2 }, color, data: steps },
    ];
  }

  return { element: h("div", {}, chart.element), update: () => chart.render(), has: () => scored().length > 0 };
}

export function makePareto() {
  const controls = h("div", { class: "controls" });
  const note = h("p", { class: "hover" });
  const chart = new Chart("Pareto front", draw);
  chart.on("click", ({ value }) => value?.[2] && select([value[2]]));

  function chosen() {
    const ids = ["score", "seconds", "cpu_hours", "epochs", ...columns().filter(({ kind }) => kind === "metric").map(({ id }) => id)];
    const p = get("p") || "seconds";
    const q = get("pq") || "score";
    const higher = (id, name) => (get(name) ? get(name) === "max" : direction(id) === "max");
    return { ids, p, q, up: [higher(p, "pd"), higher(q, "qd")] };
  }

  function update() {
    const { ids, p, q, up } = chosen();
    const options = ids.map((id) => [id, id === "score" ? scoreLabel() : labelOf(id)]);
    const change = (name, other) => (value) => { set(name, value); set(other, ""); update(); };
    const turn = (name) => (on) => { set(name, on ? "max" : "min"); update(); };
    fillIfNew(controls, [ids, p, q, up], () => [
      choice("x", options, p, change("p", "pd")), check("higher x is better", up[0], turn("pd")),
      choice("y", options, q, change("pq", "qd")), check("higher y is better", up[1], turn("qd")),
    ]);
    chart.render();
  }

  function draw() {
    const { p, q, up } = chosen();
    const trials = visible().filter((trial) => number(trial.get(p)) && number(trial.get(q)));
    if (!trials.length) return null;
    const front = frontOf(trials, p, q, up);
    const on = new Set(front);
    const point = (trial) => [trial.get(p), trial.get(q), trial.key, trial.label];
    fill(note, `Pareto front: ${front.length} of ${trials.length} trials; no other trial is better in both.`);
    return {
      tooltip: tooltip(({ value }) => `${value[3]}\n${shown(value[0])}, ${shown(value[1])}`),
      xAxis: axis(p === "score" ? scoreLabel() : labelOf(p)),
      yAxis: upright(q === "score" ? scoreLabel() : labelOf(q)),
      series: [
        ...store.runs.map((run) => ({
          type: "scatter", name: run.name, symbolSize: 6, itemStyle: { color: runColor(run.number), opacity: FAINT },
          data: trials.filter((trial) => trial.run === run.number && !on.has(trial)).map(point),
        })),
        { type: "line", name: "Pareto front", step: up[0] ? "start" : "end", symbolSize: 9, color: css("--bad"), data: front.map(point) },
      ],
    };
  }

  return { element: h("div", {}, controls, chart.element, note), update, has: () => scored().length > 0 };
}

const number = (value) => typeof value === "number" && Number.isFinite(value);

function direction(id) {
  if (id === "score") return store.runs[0]?.mode ?? "max";
  return LOWER.test(id) ? "min" : "max";
}

/** The trials that no other is better than in both columns, by the first. */
export function frontOf(trials, p, q, [upP, upQ]) {
  const merit = (trial, id, up) => (up ? trial.get(id) : -trial.get(id));
  const order = [...trials].sort((a, b) => merit(b, p, upP) - merit(a, p, upP) || merit(b, q, upQ) - merit(a, q, upQ));
  let best = -Infinity;
  const front = order.filter((trial) => {
    const better = merit(trial, q, upQ) > best;
    if (better) best = merit(trial, q, upQ);
    return better;
  });
  return front.sort((a, b) => a.get(p) - b.get(p));
}
