// Charts of ECharts with the page's colours, sizes and keys.

import { h } from "page/dom.js";
import { store } from "page/store.js";

const echarts = window.echarts;
const dark = matchMedia("(prefers-color-scheme: dark)");
const LIGHT_LINES = ["#0b62c4", "#b3470c", "#1b7a3d", "#8a3ab9", "#a3123f", "#00748c", "#6b5b00", "#3d4650"];
const DARK_LINES = ["#6cb0ff", "#ff9f6b", "#63d18b", "#cf9bff", "#ff8aa8", "#54cfe6", "#e0c64a", "#c3cad2"];
const LIGHT_SCALE = ["#7d8fa3", "#3f7fcb", "#0a3f8a"];
const DARK_SCALE = ["#66788a", "#4d8fd9", "#bfe0ff"];
/** The opacity of what lies on each other; it leaves enough contrast. */
export const FAINT = 0.75;
const SMALL = 560; // pixels of width

/** The colours of lines, best told apart first. */
export const lines = () => (dark.matches ? DARK_LINES : LIGHT_LINES);
/** From the worst to the best. */
export const scale = () => (dark.matches ? DARK_SCALE : LIGHT_SCALE);
/** A colour of the style sheet. */
export const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
/** The colour of a run. */
export const runColor = (run) => lines()[run % lines().length];

/** A chart in an element; `draw` returns its option. */
export class Chart {
  constructor(label, draw, height = 340) {
    this.draw = draw;
    this.element = h("div", { class: "chart", role: "img", "aria-label": label });
    this.element.style.height = `${height}px`;
    this.plot = null;
    this.shape = ""; // of what is drawn
    this.restore = null; // called after a drawing of another shape
    this.pressed = this.due = false;
    this.element.addEventListener("pointerdown", () => { this.pressed = true; });
    for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => this.release());
    new ResizeObserver(() => this.plot?.resize()).observe(this.element);
    dark.addEventListener("change", () => this.plot && this.render());
  }

  get narrow() {
    return this.element.clientWidth < SMALL;
  }

  /** Draw; what a user did to the chart (a brush, zoom, lines turned off) stays while its axes do. */
  render() {
    if (this.pressed) { // a drag would lose its place
      this.due = true;
      return;
    }
    this.element.hidden = false; // else it has no width
    if (!this.element.clientWidth) return;
    const option = this.draw();
    this.element.hidden = option === null;
    if (option === null) return;
    this.plot ??= echarts.init(this.element, null, { renderer: "canvas" });
    const shape = shapeOf(option);
    this.plot.setOption({ ...common(), ...option }, shape === this.shape ? { replaceMerge: ["series"] } : { notMerge: true });
    if (shape !== this.shape) this.restore?.();
    this.shape = shape;
  }

  /** A button of the pointer was released: draw what came meanwhile, after the chart's own listeners. */
  release() {
    if (!this.pressed) return;
    this.pressed = false;
    if (this.due) setTimeout(() => this.render());
    this.due = false;
  }

  on(kind, listener) {
    this.plot ??= echarts.init(this.element, null, { renderer: "canvas" });
    this.plot.on(kind, listener);
  }
}

/** The parts of an option that a merge cannot change. */
function shapeOf(option) {
  const axes = ["xAxis", "yAxis", "parallelAxis"].flatMap((kind) => option[kind] ?? []);
  return JSON.stringify([Object.keys(option), option.parallel?.layout, axes.map(({ name, type }) => [name, type])]);
}

function common() {
  return {
    animation: false,
    backgroundColor: "transparent",
    color: lines(),
    textStyle: { color: css("--text"), fontFamily: "inherit" },
    grid: { left: 8, right: 18, top: 30, bottom: 42, containLabel: true },
  };
}

/** Texts of a tooltip are drawn on the canvas, so no text becomes HTML. */
export function tooltip(formatter) {
  return {
    trigger: "item", renderMode: "richText", confine: true, formatter,
    backgroundColor: css("--card"), borderColor: css("--line"),
    textStyle: { color: css("--text"), fontSize: 12 },
  };
}

/** An axis with a name. */
export function axis(name, more = {}) {
  return {
    type: "value", name, nameLocation: "middle", nameGap: more.nameLocation === "end" ? 10 : (more.gap ?? 26), scale: true,
    nameTextStyle: { color: css("--text") }, axisLabel: { color: css("--text"), hideOverlap: true, backgroundColor: more.dim === undefined ? null : css("--back") },
    axisLine: { lineStyle: { color: css("--line") } }, splitLine: { lineStyle: { color: css("--faint") } },
    ...more,
  };
}

/** A vertical axis with its name on top. */
export function upright(name, more = {}) {
  return axis(name, { nameLocation: "end", ...more, nameTextStyle: { align: "left", color: css("--text") } });
}

/** The axis of a column: logarithmic, linear or of categories; and the place of a value on it. */
export function axisOf(name, values, more = {}) {
  const known = values.filter((value) => value !== null);
  if (known.length && known.every((value) => typeof value === "number")) {
    const [low, high] = extent(known);
    const type = low > 0 && high / low > 50 ? "log" : "value";
    return { axis: axis(name, { type, ...more }), place: (value) => value };
  }
  const data = [...new Set(known.map(String))].sort();
  return {
    axis: axis(name, { type: "category", data, scale: false, ...more }),
    place: (value) => (value === null ? null : String(value)),
  };
}

/** The lowest and the highest of numbers. */
export function extent(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

/** A colour scale over a dimension of the data. */
export function colorScale(values, dimension, name) {
  const [low, high] = extent(values.filter((value) => value !== null));
  const colors = store.runs[0]?.mode === "min" ? [...scale()].reverse() : scale();
  return {
    type: "continuous", min: low, max: high, dimension, calculable: false, orient: "horizontal",
    right: 8, top: 0, itemHeight: 90, itemWidth: 10, text: [name, ""], precision: 3,
    textStyle: { color: css("--text"), fontSize: 11 }, inRange: { color: colors },
  };
}

/** Let a chart brush rectangles; `done` gets the ranges of both axes, or null, as `held` returns them. */
export function brushing(chart, done, held) {
  let on = false;
  const cursor = () => chart.plot.dispatchAction({
    type: "takeGlobalCursor", key: "brush", brushOption: { brushType: on && "rect", brushMode: "single" },
  });
  const areas = () => (held() ? [{ brushType: "rect", xAxisIndex: 0, yAxisIndex: 0, coordRange: held() }] : []);
  chart.restore = () => {
    if (on) cursor();
    if (held()) chart.plot.dispatchAction({ type: "brush", areas: areas() });
  };
  chart.on("brushEnd", ({ areas }) => done(areas.length ? areas[0].coordRange : null));
  return {
    option: {
      toolbox: { show: false },
      brush: {
        xAxisIndex: 0, yAxisIndex: 0, brushMode: "single", throttleType: "debounce",
        outOfBrush: { colorAlpha: 1 },
        brushStyle: { borderColor: css("--accent"), color: "rgba(80,140,220,.2)" },
      },
    },
    start: () => { on = true; cursor(); },
    clear: () => {
      on = false;
      cursor();
      chart.plot.dispatchAction({ type: "brush", areas: [] });
    },
  };
}
