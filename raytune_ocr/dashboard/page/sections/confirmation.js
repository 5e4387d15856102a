// The best trials, trained again with fresh seeds, and the winner on the test split.

import { axis, Chart, css, lines, tooltip } from "page/charts.js";
import { fillIfNew, h, plainTable, shown } from "page/dom.js";
import { store } from "page/store.js";

const ROW = 44; // pixels

export function makeConfirmation() {
  const element = h("div");
  const has = () => store.runs.some(({ results, about }) => results.confirmation?.candidates || results.held_out?.length || about.confirm);

  function update() {
    const charts = [];
    fillIfNew(element, store.runs.map(({ name, results, about }) => [name, results.confirmation, results.held_out, about.confirm]), () => store.runs.flatMap((run) => [
      store.runs.length > 1 ? h("h3", {}, run.name) : null, ...candidates(run, charts), ...testSplit(run)]));
    for (const chart of charts) chart.render();
  }

  return { element, update, has };
}

function candidates(run, charts) {
  const { candidates: found, metric, verdict } = run.results.confirmation ?? {};
  if (!found) return run.about.confirm ? [h("p", {}, `After the search, the ${run.about.confirm} best trials train again with fresh seeds.`)] : [];
  const chart = new Chart("Scores of the best trials with fresh seeds", () => draw(found, metric, chart), 80 + ROW * found.length);
  charts.push(chart);
  const seeds = [...new Set(found.flatMap(({ scores }) => Object.keys(scores)))];
  const rows = found.map(({ experiment_name, mean, std, interval, scores }) => [experiment_name, mean, std, ...(interval ?? [null, null]), ...seeds.map((seed) => scores[seed] ?? null)]);
  return [
    h("p", {}, `${verdict} Bars: 95 % bootstrap of the mean, too narrow for few seeds; dots: seeds.`), chart.element,
    plainTable(["trial", `mean ${metric}`, "std", "low", "high", ...seeds.map((seed) => `seed ${seed}`)], rows, `Confirmation of ${run.name}`),
  ];
}

function testSplit(run) {
  const rows = (run.results.held_out ?? []).map((row) => [row.experiment_name, row.split, row.accuracy, row.value, row.low, row.high]);
  if (!rows.length) return [];
  return [
    h("p", {}, "Only the winner was evaluated on the test split, after it was chosen. Low and high: 95 %, by Wilson."),
    plainTable(["trial", "split", "accuracy", "value", "low", "high"], rows, `The winner of ${run.name} on the test split`),
  ];
}

function draw(found, metric, chart) {
  const names = found.map(({ experiment_name }) => experiment_name);
  const color = lines()[0];
  return {
    tooltip: tooltip(({ seriesName, name, value }) => `${names[value[1]] ?? name}\n${seriesName} ${shown(value[0])}`),
    grid: { left: 8, right: 24, top: 12, bottom: 42, containLabel: true },
    xAxis: axis(metric),
    yAxis: axis("", { type: "category", scale: false, inverse: true, data: names, axisLabel: { color: css("--text"), width: chart.narrow ? 120 : 260, overflow: "break" } }),
    series: [
      { type: "custom", name: "interval", silent: true, tooltip: { show: false }, encode: { x: [1, 2], y: 0 }, renderItem: interval, color, data: found.flatMap(({ interval: each }, row) => (each ? [[row, ...each]] : [])) },
      { type: "scatter", name: "seed", symbolSize: 8, itemStyle: { color: css("--soft-line") }, data: found.flatMap(({ scores }, row) => Object.values(scores).map((score) => [score, row])) },
      { type: "scatter", name: "mean", symbol: "rect", symbolSize: [4, 22], itemStyle: { color }, data: found.flatMap(({ mean }, row) => (mean === null ? [] : [[mean, row]])) },
    ],
  };
}

function interval(parameters, api) {
  const [x0, y] = api.coord([api.value(1), api.value(0)]);
  const [x1] = api.coord([api.value(2), api.value(0)]);
  return { type: "rect", shape: { x: x0, y: y - 4, width: Math.max(1, x1 - x0), height: 8 }, style: { fill: api.visual("color"), opacity: 0.45 } };
}
