// An answer as a Vega-Lite chart. Columns are renamed: a name is a title, never a path into the data.
const DISTINCT = 40;
const COLOURS = 12;
let loading = null;
let shown = null;

function loaded() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "/static/vega.js";
    script.onload = () => resolve(window.vegaEmbed);
    script.onerror = () => { loading = null; reject(new Error("the drawing library did not load")); };
    document.head.append(script);
  });
  return loading;
}

function valuesOf({ rows }, place) {
  return rows.map((row) => row[place]);
}

function distinct(answer, place) {
  return new Set(valuesOf(answer, place)).size;
}

/** Return whether there is something to draw. */
export function choices({ rows, kinds }) {
  return rows.length > 1 && kinds.includes("number");
}

/** Return a sensible chart: over time or steps a line, of few groups bars, of two numbers points. */
export function chooseFor(answer) {
  const { columns, kinds } = answer;
  const of = (kind) => kinds.flatMap((each, place) => (each === kind ? [place] : []));
  const numbers = of("number");
  const texts = of("text").filter((place) => distinct(answer, place) > 1);
  const named = (...names) => columns.findIndex((name) => names.includes(name));
  const colour = texts.find((place) => distinct(answer, place) <= COLOURS) ?? null;
  const time = [of("time")[0], named("time_s", "dt_s"), named("step", "epoch")].find((place) => place >= 0) ?? null;
  const y = numbers.find((place) => place !== time && !["seq", "step", "rank", "time_ns", "monotonic_ns"].includes(columns[place])) ?? numbers.at(-1);
  if (time !== null && time !== y && distinct(answer, time) > 2) return { mark: "line", x: time, y, colour };
  if (texts.length) return { mark: "bar", x: texts[0], y, colour: null };
  const x = numbers.find((place) => place !== y);
  return x === undefined ? { mark: "point", x: y, y, colour: null } : { mark: "point", x, y, colour };
}

function type(kinds, place) {
  return { number: "quantitative", time: "temporal" }[kinds[place]] ?? "nominal";
}

function axis(answer, place) {
  const limits = answer.kinds[place] === "number" ? { scale: { zero: false } } : {};
  return { field: `c${place}`, type: type(answer.kinds, place), title: answer.columns[place].slice(0, 80), ...limits };
}

function datum(answer, row, places) {
  return Object.fromEntries(places.map((place) => {
    const value = row[place];
    if (value === null) return [`c${place}`, null];
    if (answer.kinds[place] === "number") return [`c${place}`, Number.isFinite(Number(value)) ? Number(value) : null];
    if (answer.kinds[place] === "time") return [`c${place}`, `${String(value).slice(0, 23)}Z`];
    return [`c${place}`, String(value).slice(0, 80)];
  }));
}

function specOf(answer, { mark, x, y, colour }, width) {
  const places = [...new Set([x, y, colour].filter((place) => place !== null))];
  const encoding = { x: axis(answer, x), y: axis(answer, y) };
  if (mark === "bar" || mark === "area") delete encoding.y.scale;
  if (mark === "bar" && type(answer.kinds, x) === "nominal") encoding.x.sort = null;
  if (colour !== null) encoding.color = axis(answer, colour);
  encoding.tooltip = places.map((place) => ({ field: `c${place}`, type: type(answer.kinds, place), title: answer.columns[place].slice(0, 80) }));
  return {
    width, height: 320, autosize: { type: "fit", contains: "padding" }, data: { values: answer.rows.map((row) => datum(answer, row, places)) },
    mark: { type: mark, tooltip: true, clip: true, ...(mark === "line" ? { interpolate: "linear" } : {}) }, encoding,
  };
}

function config() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const [ink, soft, rule] = ["--ink", "--soft", "--rule"].map(colour);
  const range = ["--device-0", "--device-1", "--device-2", "--run-6", "--run-5", "--device-3", "--run-7", "--device-4"].map((name) => resolved(name));
  return {
    background: "transparent", font: "system-ui, sans-serif", view: { stroke: null },
    axis: { labelColor: soft, titleColor: ink, gridColor: rule, domainColor: rule, tickColor: rule, labelLimit: 160, titleFontWeight: 600 },
    legend: { labelColor: soft, titleColor: ink, labelLimit: 260, orient: "bottom", columns: 2, symbolLimit: 40 },
    range: { category: range, ramp: { scheme: "viridis" } }, mark: { color: range[0] },
  };
}

/** Return a colour of the style with what it refers to put in. */
function resolved(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

export function forgetChart(host) {
  shown?.finalize();
  shown = null;
  host.replaceChildren();
}

/** Draw, and return what is to be said of the drawing. */
export async function drawChart(host, answer, chosen) {
  try {
    const embed = await loaded();
    const groups = chosen.colour !== null && answer.kinds[chosen.colour] !== "number" ? distinct(answer, chosen.colour) : 0;
    const chart = groups > DISTINCT ? { ...chosen, colour: null } : chosen;
    const spec = specOf(answer, chart, Math.max(200, host.clientWidth));
    // `ast`: expressions are interpreted, not compiled, which this page forbids; styles are in serve.css.
    const result = await embed(host, spec, {
      actions: false, ast: true, renderer: "canvas", config: config(), defaultStyle: false, mode: "vega-lite",
      tooltip: { disableDefaultStyle: true },
    });
    shown = result.view;
    host.setAttribute("aria-label", `Chart of the answer: ${answer.columns[chart.y]} by ${answer.columns[chart.x]}`.slice(0, 200));
    host.dataset.drawn = chart.mark;
    if (groups > DISTINCT) return `Without colour: ${groups} different values are too many.`;
    return answer.truncated ? "Drawn from the rows shown, not from the whole answer." : "";
  } catch (error) {
    return `No chart: ${error.message}`;
  }
}
