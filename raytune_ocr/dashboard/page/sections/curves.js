// Learning curves of all visible trials, with rungs and pauses.

import { hasCurves } from "page/api.js";
import { axis, brushing, Chart, css, FAINT, lines, runColor, tooltip, upright } from "page/charts.js";
import { check, choice, fill, fillIfNew, h, labelOf, shown } from "page/dom.js";
import { brush, brushable, brushAgain, byScore, columns, curvesOf, get, inBrush, rangesOf, select, selection, set, store, visible, when } from "page/store.js";

const NAMED = 8; // lines with a colour of their own
const MOST_OTHERS = 300; // grey lines of a run: more of them are one grey area
const NEAR = 14; // pixels
const X = [["epoch", "epoch"], ["seconds", "time (s)"], ["cpu_hours", "cost (CPU-hours)"], ["gpu_hours", "cost (GPU-hours)"]];

export function makeCurves() {
  const controls = h("div", { class: "controls" });
  const hover = h("p", { class: "hover" }, HINT);
  const chart = new Chart("Learning curves of the visible trials", draw, 380);
  const rectangle = brushing(chart, (ranges) => brush("curves", ranges), () => rangesOf("curves"));
  let shownLines = []; // [{trial, points}]

  chart.plot.getZr().on("mousemove", ({ offsetX, offsetY }) => {
    const found = nearest(offsetX, offsetY);
    fill(hover, found ? `${found.trial.label}: ${shown(found.point[1])} at ${shown(found.point[0])}` : HINT);
  });
  chart.plot.getZr().on("click", ({ offsetX, offsetY }) => {
    const found = nearest(offsetX, offsetY);
    if (found) select([found.trial.key]);
  });

  const metric = () => get("metric") || store.runs[0]?.metric || "";

  function drawControls() {
    const metrics = columns().filter(({ kind }) => kind === "metric").map(({ id }) => id.slice("metrics.".length)).filter(hasCurves);
    const change = (name) => (value) => {
      set(name, value === true ? "1" : value || "");
      if (name === "x" || name === "metric") clear(); // the rectangle is of other axes
      update();
    };
    const gpus = store.trials.some((trial) => trial.get("gpu_hours"));
    fillIfNew(controls, [metrics, gpus, metric(), ...["x", "smooth", "logx", "logy"].map(get)], () => [
      choice("metric", metrics.map((name) => [name, labelOf(name)]), metric(), change("metric")),
      choice("by", X.filter(([id]) => id !== "gpu_hours" || gpus || get("x") === id), get("x"), change("x")),
      choice("smoothing", ["0", "0.5", "0.8", "0.95"].map((each) => [each, each === "0" ? "none" : each]), get("smooth"), change("smooth")),
      check("log x", get("logx"), change("logx")),
      check("log y", get("logy"), change("logy")),
      h("button", { type: "button", onclick: rectangle.start }, "Brush"),
      h("button", { type: "button", onclick: clear }, "Clear brush"),
    ]);
  }

  const clear = () => { rectangle.clear(); brush("curves", null); };

  async function load() {
    const curves = await Promise.all(store.runs.map((run) => curvesOf(run, metric())));
    brushAgain("curves");
    return curves;
  }

  async function update() {
    drawControls();
    const curves = await load();
    const weight = Number(get("smooth"));
    shownLines = [];
    for (const trial of visible("curves").toSorted(byScore)) {
      const curve = curves[trial.run][trial.name];
      if (curve) shownLines.push({ trial, curve, points: pointsOf(curve, get("x"), weight) });
    }
    chart.render();
  }

  function draw() {
    if (!shownLines.length) return null;
    const chosen = new Set(selection());
    const inside = inBrush("curves");
    const known = shownLines.filter(({ trial }) => !inside || inside.has(trial.key));
    const named = known.filter(({ trial }) => chosen.has(trial.key));
    if (named.length < NAMED) named.push(...known.filter((each) => !named.includes(each)).slice(0, NAMED - named.length));
    const log = (on) => ({ type: get(on) ? "log" : "value" });
    return {
      ...rectangle.option,
      tooltip: tooltip(({ seriesName, value }) => `${seriesName}\n${shown(value[1])} at ${shown(value[0])}`),
      legend: { type: "scroll", top: 0, textStyle: { color: css("--text") }, data: named.map(({ trial }) => trial.label) },
      grid: { left: 8, right: 16, top: 62, bottom: 42, containLabel: true },
      dataZoom: [{ type: "inside", zoomOnMouseWheel: "ctrl", moveOnMouseMove: false }],
      xAxis: axis(Object.fromEntries(X)[get("x")], log("logx")),
      yAxis: upright(labelOf(metric()), { ...log("logy"), nameGap: 22 }), // above the names of rungs
      series: [...others(named), ...named.map(line), pauses(), rungs()],
    };
  }

  /** The other lines of a run as one series; of many, a sample over all ranks. */
  function others(named) {
    return store.runs.map((run) => ({
      type: "line", name: `others of ${run.name}`, silent: true, symbol: "none", z: 1, connectNulls: false,
      lineStyle: store.runs.length > 1 ? { width: 1, opacity: FAINT, color: runColor(run.number) } : { width: 1, color: css("--soft-line") },
      data: sampled(shownLines.filter((each) => each.trial.run === run.number && !named.includes(each)))
        .flatMap(({ points }) => [...points, [null, null]]),
    }));
  }

  function line({ trial, points }, at) {
    const several = store.runs.length > 1;
    const color = several ? runColor(trial.run) : lines()[at % lines().length];
    return {
      type: "line", name: trial.label, data: points, z: 3, symbolSize: 4, showSymbol: points.length < 60,
      color, lineStyle: { width: 2, type: several && at % 2 ? "dashed" : "solid" },
    };
  }

  function pauses() {
    const data = shownLines.flatMap(({ curve, points }) => curve.pauses
      .map((epoch) => points[curve.epoch.indexOf(epoch)]).filter(Boolean));
    return { type: "scatter", name: "paused", silent: true, z: 4, symbol: "rect", symbolSize: [3, 10], color: css("--text"), data };
  }

  function rungs() {
    const epochs = get("x") === "epoch" ? [...new Set(store.runs.flatMap((run) => run.rungs))] : [];
    return {
      type: "line", name: "rungs", data: [], markLine: {
        silent: true, symbol: "none", lineStyle: { type: "dotted", color: css("--text"), opacity: 0.6 },
        label: { formatter: ({ value }) => `rung ${value}`, color: css("--text"), fontSize: 10 },
        data: epochs.map((xAxis) => ({ xAxis })),
      },
    };
  }

  function nearest(x, y) {
    if (!chart.plot.containPixel({ gridIndex: 0 }, [x, y])) return null;
    let [found, best] = [null, NEAR ** 2];
    const [x0, y0] = chart.plot.convertFromPixel({ gridIndex: 0 }, [x, y]);
    const [x1, y1] = chart.plot.convertFromPixel({ gridIndex: 0 }, [x + 1, y + 1]);
    for (const { trial, points } of shownLines) {
      for (const point of points) {
        if (point[1] === null) continue;
        const distance = ((point[0] - x0) / (x1 - x0)) ** 2 + ((point[1] - y0) / (y1 - y0)) ** 2;
        if (distance < best) [found, best] = [{ trial, point }, distance];
      }
    }
    return found;
  }

  /** Whether a trial has a point in the rectangle; one that no curve has come of yet is not hidden. */
  function testOf([[left, right], [low, high]]) {
    const inside = ([x, y]) => y !== null && x >= left && x <= right && y >= low && y <= high;
    return (trial) => {
      const held = store.runs[trial.run].curves.get(metric());
      const curve = held?.curves[trial.name];
      return !held || Boolean(curve) && pointsOf(curve, get("x"), Number(get("smooth"))).some(inside);
    };
  }

  brushable("curves", testOf);
  when("data", () => rangesOf("curves") && load().catch(() => null)); // also while the chart is not seen
  when("clear", () => rectangle.clear());
  return { element: h("div", {}, controls, chart.element, hover), update, chart, has: () => columns().some(({ kind }) => kind === "metric") };
}

function sampled(some) {
  const step = Math.max(1, some.length / MOST_OTHERS);
  return Array.from({ length: Math.floor(some.length / step) }, (_, at) => some[Math.floor(at * step)]);
}

const HINT = "Point at a line to read it, click to select the trial; Ctrl and the wheel zoom.";

const held = new WeakMap(); // the points of a curve, as they were drawn last

/** The points of a curve; smoothing is an exponential moving average, corrected at its start. */
export function pointsOf(curve, x, weight) {
  const key = `${x} ${weight}`;
  if (held.get(curve)?.key !== key) held.set(curve, { key, points: smoothed(curve, x, weight) });
  return held.get(curve).points;
}

function smoothed(curve, x, weight) {
  let [mean, share] = [0, 0];
  return curve.value.map((value, at) => {
    if (value === null || curve[x][at] === null) return [curve[x][at] ?? null, null];
    mean = weight * mean + (1 - weight) * value;
    share = weight * share + (1 - weight);
    return [curve[x][at], mean / share];
  });
}
