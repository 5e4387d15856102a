// Parallel coordinates of the settings that differ; brushing an axis filters all views.

import { axisOf, Chart, colorScale, css, tooltip } from "page/charts.js";
import { check, fillIfNew, h, labelOf, shown } from "page/dom.js";
import { brush, brushable, columns, get, rangesOf, scored, select as choose, set, visible, when } from "page/store.js";
import { scoreLabel } from "page/sections/table.js";

const MOST_AXES = 12;
const APART = 96; // pixels between upright axes, at least; else they lie
const [LYING, NAME] = [46, 110]; // pixels: the height of an axis that lies, the width of its name
const MOST_CATEGORIES = 30;
const MOST_POINTED = 500; // trials: to find the line under the pointer among more takes too long

export function makeParallel() {
  const chart = new Chart("Settings of the visible trials, a line a trial", draw, 360);
  const picker = h("details", { class: "picker" }, h("summary", {}, "Axes"), h("div", { class: "checks" }));
  let [trials, ids, axes] = [[], [], []];

  chart.on("click", ({ seriesType, dataIndex }) => seriesType === "parallel" && choose([trials[dataIndex].key]));

  chart.on("axisareaselected", () => {
    const ranges = chart.plot.getModel().queryComponents({ mainType: "parallelAxis" })
      .map(({ activeIntervals }, at) => [ids[at], activeIntervals.map((each) => namesIn(each, axes[at].axis) ?? each)])
      .filter(([, intervals]) => intervals.length);
    brush("parallel", ranges.length ? Object.fromEntries(ranges) : null);
  });

  function update(kind) {
    const now = visible("parallel").filter(isDrawn);
    if (kind === "filter" && now.length === trials.length && now.every((trial, at) => trial === trials[at])) return;
    drawPicker();
    chart.render();
    if (!chart.pressed) select();
  }

  function drawPicker() {
    const [all, now] = [settingsWith(scored()), new Set(axesOf(scored()))];
    picker.hidden = all.length < 2;
    fillIfNew(picker.lastChild, [all, [...now]], () => all.map((id) => check(labelOf(id), now.has(id), (on) => {
      if (on) now.add(id); else now.delete(id);
      set("axes", [...now].join(","));
      update();
    })));
  }

  /** Show the ranges, which follow their values and categories as others come. */
  function select() {
    const ranges = rangesOf("parallel") ?? {};
    for (const [at, id] of ids.entries()) {
      if (!chart.plot || !ranges[id]) continue;
      const intervals = ranges[id].map((each) => placesOf(each, axes[at].axis)).filter(Boolean);
      chart.plot.dispatchAction({ type: "axisAreaSelect", parallelAxisIndex: at, intervals }, { silent: true });
    }
  }

  function clear() {
    for (const at of chart.plot ? ids.keys() : []) {
      chart.plot.dispatchAction({ type: "axisAreaSelect", parallelAxisIndex: at, intervals: [] }, { silent: true });
    }
  }

  function draw() {
    trials = visible("parallel").filter(isDrawn);
    ids = [...axesOf(trials), "score"];
    if (trials.length < 2 || ids.length < 2) return null;
    axes = ids.map((id) => axisOf(id === "score" ? scoreLabel() : labelOf(id), trials.map((trial) => trial.get(id))));
    const scores = trials.map((trial) => trial.get("score"));
    const apart = (chart.element.clientWidth - 120) / (ids.length - 1);
    const lies = apart < APART;
    chart.element.style.height = `${lies ? 90 + LYING * ids.length : 380}px`;
    chart.plot?.resize();
    return {
      tooltip: tooltip(({ dataIndex }) => `${trials[dataIndex].label}\n${scoreLabel()} ${shown(trials[dataIndex].get("score"))}`),
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
        inactiveOpacity: 0.04, progressive: 500, silent: trials.length > MOST_POINTED,
        data: trials.map((trial) => ids.map((id, at) => axes[at].place(trial.get(id)) ?? "-")),
      }],
    };
  }

  chart.restore = select;
  brushable("parallel", testOf);
  when("clear", clear);
  const hint = h("p", { class: "hover" }, "Drag along an axis to keep the trials in that range; click the axis to release it; click a line to select its trial.");
  return { element: h("div", {}, picker, chart.element, hint), update, chart, has: () => scored().length > 1 && shownSettings(scored()).length > 0 };
}

const isDrawn = (trial) => trial.get("score") !== null;

/** The categories in an interval of their places; null: the axis has none. */
function namesIn([low, high], { type, data }) {
  return type === "category" ? data.filter((name, at) => at >= low && at <= high) : null;
}

/** The interval of an axis with these values or categories; null: it has none of them. */
function placesOf(range, { type, data }) {
  if (type !== "category") return typeof range[0] === "number" ? range : null;
  const places = range.map((name) => data.indexOf(name)).filter((at) => at >= 0);
  return places.length ? [Math.min(...places) - 0.4, Math.max(...places) + 0.4] : null;
}

function testOf(ranges) {
  const within = (value, range) => (typeof range[0] === "number"
    ? value >= range[0] && value <= range[1] : range.includes(String(value)));
  return (trial) => Object.entries(ranges).every(([id, intervals]) =>
    trial.get(id) !== null && intervals.some((range) => within(trial.get(id), range)));
}

/** The axes: those that were chosen, else the first. */
function axesOf(trials) {
  const kept = get("axes").split(",");
  return get("axes") ? settingsWith(trials).filter((id) => kept.includes(id)) : shownSettings(trials);
}

/** The first settings that are worth an axis. */
export const shownSettings = (trials) => settingsWith(trials).slice(0, MOST_AXES);

/** All settings that are worth an axis. */
export function settingsWith(trials) {
  const ids = columns().filter(({ kind }) => kind === "setting").map(({ id }) => id);
  return ids.filter((id) => {
    const values = new Set(trials.map((trial) => trial.get(id)).filter((value) => value !== null));
    const numeric = [...values].every((value) => typeof value === "number");
    return values.size > 1 && (numeric || values.size <= MOST_CATEGORIES);
  });
}
