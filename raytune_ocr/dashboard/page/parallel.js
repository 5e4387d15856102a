// Parallel coordinates of the settings that differ; brushing an axis filters all views.

import { axisOf, Chart, colorScale, css } from "page/charts.js";
import { h, labelOf } from "page/dom.js";
import { brush, columns, store, visible, when } from "page/store.js";
import { scoreLabel } from "page/table.js";

const MOST_AXES = 12;
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
    return {
      parallel: { left: 56, right: 64, top: 64, bottom: 24, axisExpandable: ids.length > 8, axisExpandCount: 8 },
      parallelAxis: axes.map(({ axis }, dim) => ({
        ...axis, dim, nameLocation: "end", nameGap: 12,
        nameTextStyle: { color: css("--text"), fontSize: 11, width: chart.narrow ? 56 : 110, overflow: "truncate" },
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
  return { element: h("div", {}, chart.element, hint), update, chart };
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
