// The score over one setting (slice), and over two (contour).

import { axisOf, Chart, colorScale, css, extent, FAINT, runColor, tooltip, upright } from "page/charts.js";
import { choice, fill, fillIfNew, h, labelOf, shown } from "page/dom.js";
import { get, scored, select, set, store, visible } from "page/store.js";
import { settingsWith } from "page/sections/parallel.js";
import { scoreLabel } from "page/sections/table.js";

const CELLS = 28; // of the contour, along each axis
const POWER = 3; // of the inverse distance

export function makeSpace() {
  const controls = h("div", { class: "controls" });
  const slice = new Chart("Score over one setting", drawSlice);
  const contour = new Chart("Score over two settings", drawContour);
  for (const chart of [slice, contour]) chart.on("click", ({ value }) => value?.[3] && select([value[3]]));
  const note = h("p", { class: "hover" });

  function chosen() {
    const ids = settingsWith(store.trials);
    const a = ids.includes(get("a")) ? get("a") : ids[0];
    const b = ids.includes(get("b")) && get("b") !== a ? get("b") : ids.find((id) => id !== a);
    return { ids, a, b };
  }

  function update() {
    const { ids, a, b } = chosen();
    const options = ids.map((id) => [id, labelOf(id)]);
    const change = (name) => (value) => { set(name, value); update(); };
    fillIfNew(controls, [ids, a, b], () => [choice("setting", options, a, change("a")), b ? choice("and", options.filter(([id]) => id !== a), b, change("b")) : null]);
    slice.render();
    contour.render();
    fill(note, b ? "The surface is interpolated between the trials (points) by their distance: between far points it is a guess."
      : "No second setting differs between trials.");
  }

  function drawSlice() {
    const [trials, { a }] = [scored(visible()), chosen()];
    if (!a || !trials.length) return null;
    const x = axisOf(labelOf(a), trials.map((trial) => trial.get(a)));
    const points = (some) => some.filter((trial) => trial.get(a) !== null)
      .map((trial) => [x.place(trial.get(a)), trial.get("score"), trial.get("score"), trial.key]);
    return {
      tooltip: tooltip(named), xAxis: x.axis,
      yAxis: upright(scoreLabel(), { type: axisOf("", trials.map((trial) => trial.get("score"))).axis.type }),
      series: store.runs.map((run) => ({
        type: "scatter", name: run.name, symbolSize: 7, itemStyle: { opacity: FAINT, color: runColor(run.number) },
        data: points(trials.filter((trial) => trial.run === run.number)),
      })),
    };
  }

  function drawContour() {
    const [all, { a, b }] = [scored(visible()), chosen()];
    const trials = all.filter((trial) => b && trial.get(a) !== null && trial.get(b) !== null);
    if (trials.length < 3) return null;
    const x = axisOf(labelOf(a), trials.map((trial) => trial.get(a)));
    const y = axisOf(labelOf(b), trials.map((trial) => trial.get(b)), { nameLocation: "end", nameTextStyle: { align: "left", color: css("--text") } });
    const points = trials.map((trial) => [x.place(trial.get(a)), y.place(trial.get(b)), trial.get("score"), trial.key]);
    return {
      tooltip: tooltip(named), xAxis: x.axis, yAxis: y.axis,
      grid: { left: 8, right: 16, top: 34, bottom: 42, containLabel: true },
      visualMap: colorScale(points.map((point) => point[2]), 2, scoreLabel()),
      series: [
        { type: "custom", name: "surface", silent: true, z: 1, renderItem: drawCell, encode: { x: [0, 4], y: [1, 5] }, data: surface(points, x.axis, y.axis) },
        { type: "scatter", name: "trials", symbolSize: 8, z: 3, itemStyle: { borderColor: css("--text"), borderWidth: 1 }, data: points },
      ],
    };
  }

  return { element: h("div", {}, controls, h("div", { class: "pair" }, slice.element, contour.element), note), update, has: () => scored().length > 0 && settingsWith(store.trials).length > 0 };
}

const named = ({ value }) => (value[3] ? `${value[3].replace(/^\d+\//, "")}\n${scoreLabel()} ${shown(value[2])}` : "");

/** Rectangles [x0, y0, score, null, x1, y1] that cover the range of the points. */
function surface(points, xAxis, yAxis) {
  const [xs, ys] = [scaleOf(points.map((p) => p[0]), xAxis), scaleOf(points.map((p) => p[1]), yAxis)];
  const known = points.map((p) => [xs.unit(p[0]), ys.unit(p[1]), p[2]]);
  const cells = [];
  for (let i = 0; i < xs.cells; i++) {
    for (let j = 0; j < ys.cells; j++) {
      const score = interpolated(known, (i + 0.5) / xs.cells, (j + 0.5) / ys.cells);
      const [[x0, x1], [y0, y1]] = [xs.edges(i), ys.edges(j)];
      cells.push([x0, y0, score, null, x1, y1]);
    }
  }
  return cells;
}

/** Places of values between 0 and 1, and the edges of a cell; of a category, both are its number. */
function scaleOf(values, { type, data }) {
  if (type === "category") {
    const size = data.length;
    return { cells: size, unit: (v) => (data.indexOf(v) + 0.5) / size, edges: (i) => [i, i] };
  }
  const [into, back] = type === "log" ? [Math.log, Math.exp] : [(v) => v, (v) => v];
  const [low, high] = extent(values.map(into));
  const range = high - low || 1;
  const value = (u) => back(low + u * range);
  return { cells: CELLS, unit: (v) => (into(v) - low) / range, edges: (i) => [value(i / CELLS), value((i + 1) / CELLS)] };
}

function interpolated(known, x, y) {
  let [sum, weights] = [0, 0];
  for (const [u, v, score] of known) {
    const weight = 1 / (((u - x) ** 2 + (v - y) ** 2) ** (POWER / 2) + 1e-6);
    sum += weight * score;
    weights += weight;
  }
  return sum / weights;
}

function drawCell(parameters, api) {
  const band = api.size([1, 1]); // of a category
  const half = [[0, 4], [1, 5]].map(([low, high], at) => (api.value(low) === api.value(high) ? band[at] / 2 : 0));
  const [x0, y0] = api.coord([api.value(0), api.value(1)]).map((place, at) => Math.round(place + (at ? half[1] : -half[0])));
  const [x1, y1] = api.coord([api.value(4), api.value(5)]).map((place, at) => Math.round(place + (at ? -half[1] : half[0])));
  const shape = { x: Math.min(x0, x1), y: Math.min(y0, y1), width: Math.abs(x1 - x0), height: Math.abs(y1 - y0) };
  return { type: "rect", shape, style: { fill: api.visual("color") } };
}
