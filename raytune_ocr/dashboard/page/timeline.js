// Trials on nodes over time, and what they cost.

import { axis, Chart, css, tooltip } from "page/charts.js";
import { duration, fill, h, plainTable, shown } from "page/dom.js";
import { select, store, visible } from "page/store.js";

const LANE = 14; // pixels
const MOST_HEIGHT = 900;

export function makeTimeline() {
  const note = h("p", { class: "hover" });
  const chart = new Chart("Trials on nodes over time", draw, 260);
  chart.on("click", ({ value }) => value?.[4] && select([value[4]]));

  function update() {
    const timed = trials();
    const lanes = lanesOf(timed);
    chart.element.style.height = `${Math.min(MOST_HEIGHT, 90 + LANE * 1.5 * lanes.length)}px`;
    chart.plot?.resize();
    chart.render();
    fill(note, timed.length ? "A bar lasts from the start of a trial's first epoch to the end of its last one; pauses are inside it."
      : "The journal of this run has no times: it was written by an earlier version, or no epoch has ended yet.");
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
      series: [{ type: "custom", renderItem: bar, encode: { x: [1, 2], y: 0 }, data }],
    };
  }

  return { element: h("div", {}, chart.element, note), update };
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

export function makeCosts() {
  const element = h("div");

  function update() {
    const rows = store.runs.map((run) => {
      const trials = [...run.trials.values()];
      const sum = (id) => trials.reduce((total, trial) => total + (trial.get(id) ?? 0), 0);
      const costs = run.results.costs ?? {};
      const energy = (costs.cpu_kwh ?? 0) + (costs.gpu_kwh ?? 0);
      const epochs = sum("epochs");
      return [run.name, trials.length, epochs, duration(sum("seconds")), sum("cpu_hours"), sum("gpu_hours"),
        energy || null, money(costs.money, costs), costs.saved_cpu_hours ?? null, money(costs.saved_money, costs), peak(run)];
    });
    fill(element, plainTable(["run", "trials", "epochs", "training time", "CPU-hours", "GPU-hours", "kWh", "cost", "CPU-hours saved by early stopping", "saved", "peak memory (MiB)"], rows, "Resources and cost"));
  }

  return { element, update };
}

const money = (amount, costs) => (amount === null || amount === undefined ? null : `${shown(amount)} ${costs.currency}`);

function peak(run) {
  const values = [...run.trials.values()].map((trial) => trial.get("metrics.memory_mb") ?? 0);
  return Math.round(Math.max(0, ...values)) || null;
}
