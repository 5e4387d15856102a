// Importance of the settings.

import { ask } from "page/api.js";
import { axis, Chart, css, lines, tooltip } from "page/charts.js";
import { fill, h, labelOf, shown } from "page/dom.js";
import { shownSettings } from "page/sections/parallel.js";
import { scored, store } from "page/store.js";

const FEWEST = 5; // trials of an estimate
const BAR = 15; // pixels
const AGAIN = 30_000; // milliseconds between two estimates of a run in progress

export function makeImportance() {
  const note = h("p", { class: "hover" });
  const chart = new Chart("Importance of the settings", draw, 200);
  let found = [];
  let [next, timer, versions, due] = [0, null, "", false];

  /** Ask for an estimate, unless one is young; the other sections do not wait for it. */
  function update() {
    const now = store.runs.map(({ version }) => version).join(",");
    due = timer !== null;
    if (due || now === versions) return;
    timer = setTimeout(() => estimate().finally(() => {
      timer = null;
      if (due) update();
    }), Math.max(0, next - Date.now()));
  }

  async function estimate() {
    versions = store.runs.map(({ version }) => version).join(",");
    if (!found.length) fill(note, "estimating …");
    found = await Promise.all(store.runs.map((run) => ask("importance", { run: run.number }).catch((error) => ({ ours: [], fanova: [], note: error.message }))));
    next = Date.now() + AGAIN;
    chart.element.style.height = `${90 + 2.2 * BAR * names().length}px`;
    chart.plot?.resize();
    chart.render();
    fill(note, [found.map(({ note: why }, run) => (why && found.length > 1 ? `Run ${run + 1}: ${why}` : why)).filter(Boolean).join(" "),
      found[0]?.estimator ? `Ours: ${found[0].estimator}; one setting at a time, the mark is 95 % of chance. fANOVA (Optuna): share of the variance, line: five forests.` : ""].join(" "));
  }

  const names = () => [...new Set(found.flatMap(({ ours, fanova }) => [...ours, ...fanova]).map(({ setting }) => setting))];

  function draw() {
    const settings = names();
    if (!settings.length) return null;
    const series = found.flatMap((each, run) => ["ours", "fanova"].filter((kind) => each[kind].length).map((kind) => ({ run, kind, of: each[kind] })));
    return {
      tooltip: tooltip(({ seriesName, name, value }) => `${name}\n${seriesName} ${shown(value)}`),
      legend: { top: 0, textStyle: { color: css("--text") } },
      xAxis: axis("importance", { min: 0, max: 1, scale: false }),
      yAxis: axis("", { type: "category", scale: false, inverse: true, data: settings.map((name) => labelOf(`settings.${name}`)), axisLabel: { color: css("--text"), width: chart.narrow ? 110 : 220, overflow: "break" } }),
      series: series.flatMap(({ run, kind, of }, at) => barsOf(run, kind, of, settings, at, series.length)),
    };
  }

  return { element: h("div", {}, chart.element, note), update, has: () => scored().length >= FEWEST && shownSettings(scored()).length > 0 };
}

function barsOf(run, kind, rows, settings, at, number) {
  const of = (setting) => rows.find((row) => row.setting === setting) ?? {};
  const name = `${kind === "ours" ? "ours" : "fANOVA"}${store.runs.length > 1 ? ` (run ${run + 1})` : ""}`;
  const spread = settings.map((setting, row) => [row, of(setting).low ?? null, of(setting).high ?? null, of(setting).chance ?? null]);
  const shift = (at - (number - 1) / 2) * (BAR + 2);
  return [
    { type: "bar", name, barWidth: BAR, barGap: `${200 / BAR}%`, color: lines()[at], data: settings.map((setting) => of(setting).importance ?? null) },
    {
      type: "custom", name, silent: true, z: 5, tooltip: { show: false }, encode: { x: [1, 2], y: 0 },
      data: spread.filter(([, low]) => low !== null),
      renderItem: (parameters, api) => whisker(api, shift),
    },
  ];
}

function whisker(api, shift) {
  const place = (value) => api.coord([value, api.value(0)]);
  const [[x0, y], [x1]] = [place(api.value(1)), place(api.value(2))];
  const stroke = { stroke: css("--text"), lineWidth: 1.5 };
  const children = [{ type: "line", shape: { x1: x0, y1: y + shift, x2: x1, y2: y + shift }, style: stroke }];
  if (Number.isFinite(api.value(3)) && api.value(3) !== null) {
    const [x] = place(api.value(3));
    children.push({ type: "line", shape: { x1: x, y1: y + shift - 7, x2: x, y2: y + shift + 7 }, style: { stroke: css("--bad"), lineWidth: 2 } });
  }
  return { type: "group", children };
}
