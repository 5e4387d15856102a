// What the best reader misreads, and whether its confidence can be trusted.

import { ask, frozen } from "page/api.js";
import { axis, Chart, css, lines, tooltip, upright } from "page/charts.js";
import { fill, h, shown } from "page/dom.js";
import { store } from "page/store.js";

export function makeReader() {
  const element = h("div");
  const results = h("div");
  let found = null;
  const confusion = new Chart("Confusion matrix", drawConfusion, 420);
  const reliability = new Chart("Share of right readings by confidence", drawReliability, 420);

  const readers = () => store.runs.filter((run) => [...run.trials.values()].some((trial) => trial.get("metrics.val_char_accuracy") !== null));

  function update() {
    if (element.childElementCount || !readers().length) return;
    const buttons = readers().map((run) => h("button", { type: "button", onclick: () => read(run) }, `Read the validation images with the best model of ${run.name}`));
    fill(element, frozen && buttons.length === 1 ? null : h("div", { class: "controls" }, buttons), results);
    if (frozen) read(readers()[0]);
  }

  async function read(run) {
    fill(results, h("p", {}, "reading …"));
    try {
      found = await ask("reader", { run: run.number });
      fill(results, report(found, confusion, reliability));
      confusion.render();
      reliability.render();
    } catch (error) {
      fill(results, h("p", { class: "bad" }, error.message));
    }
  }

  function drawConfusion() {
    const { matrix } = found;
    const digits = matrix.map((row, at) => String(at));
    const data = matrix.flatMap((row, y) => row.map((count, x) => [x, y, Math.log1p(x === y ? 0 : count), count]));
    return {
      tooltip: tooltip(({ value }) => `${value[0]} read for ${value[1]}: ${value[3]}`),
      grid: { left: 44, right: 12, top: 12, bottom: 44, containLabel: false },
      xAxis: axis("digit read", { type: "category", scale: false, data: digits }),
      yAxis: axis("true digit", { type: "category", scale: false, data: digits, inverse: true }),
      visualMap: { show: false, min: 0, max: Math.max(...data.map((each) => each[2])) || 1, dimension: 2, inRange: { color: [css("--card"), css("--cell")] } },
      series: [{ type: "heatmap", data, label: { show: true, formatter: ({ value }) => (value[3] ? String(value[3]) : ""), color: css("--text") }, itemStyle: { borderColor: css("--line"), borderWidth: 0.5 } }],
    };
  }

  function drawReliability() {
    const { before, after } = found.calibration;
    const most = Math.max(...[...before, ...after].map(([, , count]) => count));
    const line = (name, data, at) => ({ type: "line", name, data, color: lines()[at], symbol: "circle", symbolSize: ([, , count]) => 5 + (14 * count) / most });
    const diagonal = { type: "line", name: "confidence = share right", data: [[0, 0], [1, 1]], symbol: "none", silent: true, color: css("--soft-line"), lineStyle: { type: "dotted" } };
    return {
      tooltip: tooltip(({ seriesName, value }) => `${seriesName}\nconfidence ${shown(value[0])}, right ${shown(value[1])}, readings ${value[2]}`),
      legend: { top: 0, textStyle: { color: css("--text") } },
      grid: { left: 8, right: 18, top: 76, bottom: 42, containLabel: true },
      xAxis: axis("confidence", { min: 0, max: 1 }), yAxis: upright("share right", { min: 0, max: 1 }),
      series: [line("as it is", before, 0), line("with Platt scaling", after, 1), diagonal],
    };
  }

  return { element, update, has: () => readers().length > 0 };
}

function report(found, confusion, reliability) {
  const { error_before: before, error_after: after, slope, offset } = found.calibration;
  return [
    h("p", {}, `${found.trial} on ${found.split}: ${found.wrong} of ${found.images} strings misread. ${found.precision}`),
    h("div", { class: "pair" },
      h("div", {}, h("h3", {}, "Confusion matrix"), confusion.element),
      h("div", {}, h("h3", {}, "Calibration of the confidence"), reliability.element)),
    h("p", {}, `Expected calibration error ${shown(before)} as it is and ${shown(after)} with Platt scaling (two-fold cross-fit), with a second look at doubtful readings. Fit on all images: slope ${shown(slope)}, offset ${shown(offset)}. “export” stores such a fit with the model, and “predict” applies it.`),
    h("h3", {}, "Wrong readings with the highest confidence"),
    found.wrong ? h("ul", { class: "reads" }, found.misread.filter(({ picture }) => picture).map(reading)) : h("p", {}, "None: every string was read right."),
  ];
}

const reading = ({ picture, there, read, confidence }) => h("li", {}, h("img", { src: picture, alt: `image of ${there}` }), `${latin(read) || "nothing"} for ${latin(there)} (${shown(confidence)})`);

/** Khmer digits as 0-9, for which every machine has a font. */
const latin = (text) => text.replace(/[០-៩]/g, (digit) => String(digit.charCodeAt(0) - "០".charCodeAt(0)));
