// Parallel coordinates of the settings that differ; brushing an axis filters all views.

import { axisOf, Chart, colorScale, css } from "page/charts.js";
import { h, labelOf } from "page/dom.js";
import { brush, columns, scored, store, visible, when } from "page/store.js";
import { scoreLabel } from "page/sections/table.js";

const MOST_AXES = 12;
const APART = 96; // pixels between upright axes, at least; else they lie
const [LYING, NAME] = [46, 110]; // pixels: the height of an axis that lies, the width of its name
const MOST_CATEGORIES = 30;

export function makeParallel() {
  const chart = new Chart("Settings of the visible trials, a line a trial", draw, 360);
  let trials = [];
  let quiet = false;

  chart.on("axisareaselected", () => {
    if (quiet) return;
    const series = chart.plot.getModel().getSeriesByIndex(0);
    const inside = new Set(series.getRawIndicesByActiveState("active").map((at) => trials[at].key));
    const all = inside.size === 0 && !isBrushed();
    brush("parallel", all ? null : inside);
  });

  function isBrushed() {
    return chart.plot.getModel().queryComponents({ mainType: "parallelAxis" })
      .some((axis) => axis.activeIntervals?.length);
  }

  function update(kind) {
    if (kind === "filter" && store.brushes.has("parallel")) return; // it is where the brush is
    chart.render();
  }

  function draw() {
    trials = visible("parallel").filter((trial) => trial.get("score") !== null);
    const ids = [...shownSettings(trials), "score"];
    if (trials.length < 2 || ids.length < 2) return null;
    const axes = ids.map((id) => axisOf(id === "score" ? scoreLabel() : labelOf(id), trials.map((trial) => trial.get(id))));
    const scores = trials.map((trial) => trial.get("score"));
    const apart = (chart.element.clientWidth - 120) / (ids.length - 1);
    const lies = apart < APART;
    chart.element.style.height = `${lies ? 90 + LYING * ids.length : 380}px`;
    chart.plot?.resize();
    return {
      parallel: lies ? { layout: "vertical", left: NAME + 18, right: 24, top: 56, bottom: 30 } : { left: 56, right: 64, top: 84, bottom: 24 },
      parallelAxis: axes.map(({ axis }, dim) => ({
        ...axis, dim, nameLocation: lies ? "start" : "end", nameGap: 12,
        nameTextStyle: { color: css("--text"), fontSize: 11, width: lies ? NAME : apart - 12, overflow: "break" },
        areaSelectStyle: { width: 22, borderColor: css("--accent"), color: css("--accent"), opacity: 0.3 },
        axisLine: { lineStyle: { color: css("--text") } },
      })),
      visualMap: colorScale(scores, ids.length - 1, scoreLabel()),
      series: [{
        type: "parallel", lineStyle: { width: trials.length > 300 ? 0.8 : 1.6, opacity: trials.length > 300 ? 0.35 : 0.8 },
        inactiveOpacity: 0.04, progressive: 500, silent: true,
        data: trials.map((trial) => ids.map((id, at) => axes[at].place(trial.get(id)) ?? "-")),
      }],
    };
  }

  when("clear", () => chart.plot && chart.render());
  const hint = h("p", { class: "hover" }, "Drag along an axis to keep the trials in that range; click the axis to release it.");
  return { element: h("div", {}, chart.element, hint), update, chart, has: () => scored().length > 1 && shownSettings(scored()).length > 0 };
}

/** The settings that are worth an axis. */
export function shownSettings(trials) {
  const ids = columns().filter(({ kind }) => kind === "setting").map(({ id }) => id);
  return ids.filter((id) => {
    const values = new Set(trials.map((trial) => trial.get(id)).filter((value) => value !== null));
    const numeric = [...values].every((value) => typeof value === "number");
    return values.size > 1 && (numeric || values.size <= MOST_CATEGORIES);
  }).slice(0, MOST_AXES);
}
