// Trials on nodes over time, and what they cost.

import { axis, Chart, css, tooltip } from "page/charts.js";
import { duration, fillIfNew, h, plainTable, shown } from "page/dom.js";
import { curvesOf, select, store, visible } from "page/store.js";

const LANE = 14; // pixels
const MOST_HEIGHT = 900;

export function makeTimeline() {
  const note = h("p", { class: "hover" }, "A bar lasts from the start of a trial's first epoch to the end of its last one; thin parts are times in which it did not train.");
  const chart = new Chart("Trials on nodes over time", draw, 260);
  chart.on("click", ({ value }) => value?.[4] && select([value[4]]));

  let idle = []; // by run, the times of a trial's pauses

  async function update() {
    const curves = await Promise.all(store.runs.map((run) => curvesOf(run, run.metric)));
    idle = curves.map((each) => Object.fromEntries(Object.entries(each).map(([name, curve]) => [name, curve.idle ?? []])));
    const timed = trials();
    const lanes = lanesOf(timed);
    chart.element.style.height = `${Math.min(MOST_HEIGHT, 90 + LANE * 1.5 * lanes.length)}px`;
    chart.plot?.resize();
    chart.render();
  }

  const trials = () => visible().filter((trial) => trial.get("began") !== null);

  function draw() {
    const timed = trials();
    if (!timed.length) return null;
    const lanes = lanesOf(timed);
    const colors = { completed: css("--good"), failed: css("--bad"), running: css("--accent"), paused: css("--warn") };
    const data = lanes.flatMap(({ bars }, lane) => bars.map((trial) => ({
      value: [lane, trial.get("began") * 1000, trial.get("ended") * 1000, trial.label, trial.key],
      itemStyle: { color: colors[trial.get("status")] ?? css("--soft-line") },
    })));
    return {
      tooltip: tooltip(({ value }) => `${value[3]}\n${duration((value[2] - value[1]) / 1000)}`),
      xAxis: axis("", { type: "time", scale: true }),
      yAxis: axis("", { type: "category", scale: false, inverse: true, data: lanes.map(({ name }) => name) }),
      series: [
        { type: "custom", renderItem: bar, encode: { x: [1, 2], y: 0 }, data },
        { type: "custom", name: "paused", silent: true, z: 4, tooltip: { show: false }, renderItem: pause, encode: { x: [1, 2], y: 0 }, data: pauses(lanes) },
      ],
    };
  }

  const pauses = (lanes) => lanes.flatMap(({ bars }, lane) => bars.flatMap((trial) =>
    (idle[trial.run]?.[trial.name] ?? []).map(([began, ended]) => [lane, began * 1000, ended * 1000])));

  return { element: h("div", {}, chart.element, note), update, has: () => store.trials.some((trial) => trial.get("began") !== null) };
}

/** Lanes of a node, so that no two bars of a lane overlap. */
function lanesOf(trials) {
  const lanes = [];
  for (const trial of trials.toSorted((a, b) => a.get("began") - b.get("began"))) {
    const node = trial.get("node") ?? "";
    let lane = lanes.find((each) => each.node === node && each.end <= trial.get("began") + 0.5);
    if (!lane) {
      const number = lanes.filter((each) => each.node === node).length + 1;
      lanes.push(lane = { node, name: node ? `${node} ${number}` : `lane ${number}`, bars: [] });
    }
    lane.bars.push(trial);
    lane.end = trial.get("ended");
  }
  return lanes.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
}

function bar(parameters, api) {
  const [x0, y] = api.coord([api.value(1), api.value(0)]);
  const [x1] = api.coord([api.value(2), api.value(0)]);
  const height = Math.min(LANE, api.size([0, 1])[1] * 0.8);
  return {
    type: "rect", shape: { x: x0, y: y - height / 2, width: Math.max(2, x1 - x0), height },
    style: { fill: api.visual("color"), stroke: css("--card"), lineWidth: 1 },
  };
}

/** The part of a bar in which its trial is paused: a line in the place of the bar. */
function pause(parameters, api) {
  const { shape, ...rest } = bar(parameters, api);
  const y = shape.y + shape.height / 2;
  return {
    type: "group", children: [
      { ...rest, shape, style: { fill: css("--back"), stroke: css("--back"), lineWidth: 1 } },
      { type: "line", shape: { x1: shape.x, x2: shape.x + shape.width, y1: y, y2: y }, style: { stroke: css("--soft-line"), lineWidth: 2 } },
    ],
  };
}

export function makeCosts() {
  const element = h("div");

  function update() {
    const figures = store.runs.map((run) => {
      const trials = [...run.trials.values()];
      const sum = (id) => trials.reduce((total, trial) => (trial.get(id) === null ? total : total + trial.get(id)), null);
      const costs = run.results.costs ?? {};
      const energy = (costs.cpu_kwh ?? 0) + (costs.gpu_kwh ?? 0);
      const epochs = sum("epochs");
      return [run.name, trials.length, epochs, duration(sum("seconds")), sum("cpu_hours"), sum("gpu_hours"),
        energy || null, money(costs.money, costs), costs.saved_cpu_hours ?? null, money(costs.saved_money, costs), peak(run)];
    });
    const rows = ["", "trials", "epochs", "training time", "CPU-hours", "GPU-hours", "kWh", "cost", "CPU-hours saved by early stopping", "cost saved", "peak memory (MiB)"]
      .map((name, at) => [name, ...figures.map((each) => each[at])]);
    fillIfNew(element, [rows, store.runs.map(({ results }) => results.costs)], () => [
      plainTable(rows[0], rows.slice(1), "Resources and cost"),
      h("p", { class: "hover" }, "Hours are the time of epochs by the resources reserved; saved is what the epochs that were not trained would have cost."),
      ...store.runs.flatMap(presets)]);
  }

  return { element, update, has: () => store.trials.some((trial) => trial.get("seconds")) };
}

/** A row for each experiment of a run that has several. */
function presets({ name, results }) {
  const { presets: rows = [], currency } = results.costs ?? {};
  if (rows.length < 2) return [];
  const cells = rows.map((row) => [row.experiment_name, row.trials, row.cpu_hours, row.gpu_hours, money(row.money, { currency })]);
  return [h("h3", {}, `By experiment of ${name}`), plainTable(["experiment", "trials", "CPU-hours", "GPU-hours", "cost"], cells, `Cost by experiment of ${name}`)];
}

const money = (amount, costs) => (amount === null || amount === undefined ? null : `${shown(amount)} ${costs.currency}`);

function peak(run) {
  const values = [...run.trials.values()].map((trial) => trial.get("metrics.memory_mb") ?? 0);
  return Math.round(Math.max(0, ...values)) || null;
}
