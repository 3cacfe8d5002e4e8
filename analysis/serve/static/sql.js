// The page SQL: an editor, the answer as a table and a chart, and what there is to ask.
import { Refused, ask, askJson, element, hashState, numberText, onHashState, onKey, say, setHashState } from "./serve.js";
import { choices, chooseFor, drawChart, forgetChart } from "./sql_chart.js";
import { lineAndColumn, markedError, wordLength } from "./sql_error.js";

const ROWS_AT_ONCE = 200;
const INDENT = "  ";
const byId = (id) => document.getElementById(id);
const query = byId("query");
let asked = null;
let given = null;
let leavesByTab = false;

// -- the editor --

function number() {
  const count = query.value.split("\n").length;
  byId("numbers").replaceChildren(...Array.from({ length: count }, (_, place) =>
    element("span", { class: String(place + 1) === query.dataset.wrong ? "wrong" : null }, `${place + 1}\n`)));
  query.rows = Math.max(8, Math.min(24, count + 1));
  byId("numbers").scrollTop = query.scrollTop;
}

function write(sql) {
  query.value = sql;
  tell(null);
  number();
}

function insert(text) {
  query.focus();
  query.setRangeText(text, query.selectionStart, query.selectionEnd, "end");
  query.dispatchEvent(new Event("input"));
}

query.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    run();
  } else if (event.key === "Escape") {
    leavesByTab = true;
  } else if (event.key === "Tab" && !event.shiftKey && !leavesByTab) {
    event.preventDefault();
    insert(INDENT);
  } else if (event.key !== "Tab") {
    leavesByTab = false;
  }
});
query.addEventListener("input", () => { delete query.dataset.wrong; number(); });
query.addEventListener("scroll", () => { byId("numbers").scrollTop = query.scrollTop; });

// -- asking --

async function run() {
  const sql = query.value;
  if (!sql.trim()) return;
  asked?.abort();
  const mine = asked = new AbortController();
  const began = performance.now();
  setHashState({ q: sql }, true);
  busy(true);
  try {
    given = await askJson("/api/sql", { body: { sql }, signal: mine.signal });
    tell(null);
    show((performance.now() - began) / 1000);
  } catch (error) {
    if (mine === asked) tell(error, sql);
  } finally {
    if (mine === asked) busy(false);
  }
}

function busy(is) {
  byId("stop").hidden = !is;
  byId("run").disabled = is;
  if (is) byId("progress").textContent = "It is being answered.";
  else asked = null;
}

/** Say what is wrong, and where: its line marked, its word selected. */
function tell(error, sql = "") {
  delete query.dataset.wrong;
  query.setAttribute("aria-invalid", String(Boolean(error) && error.name !== "AbortError"));
  byId("query-error").replaceChildren();
  if (!error) return;
  byId("progress").textContent = "";
  if (error.name === "AbortError") {
    byId("progress").textContent = "Stopped.";
    return;
  }
  byId("answer").hidden = true;
  byId("query-error").append(markedError(sql, error instanceof Refused ? error.told : { error: error.message }));
  const position = error.told?.position;
  if (Number.isInteger(position) && query.value === sql) mark(sql, position);
}

function mark(sql, position) {
  query.dataset.wrong = String(lineAndColumn(sql, position).line);
  number();
  const from = [...sql].slice(0, position).join("").length;
  query.focus();
  query.setSelectionRange(from, Math.min(sql.length, from + wordLength(sql.slice(from))));
}

async function download(format) {
  const sql = query.value;
  byId("progress").textContent = "The file is being made.";
  try {
    const content = await (await ask(`/api/sql/download?format=${format}`, { body: { sql } })).blob();
    const address = URL.createObjectURL(content);
    const link = element("a", { href: address, download: `thermograd.${format}` });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
    tell(null);
    byId("progress").textContent = `${numberText(content.size / 1000)} kB.`;
  } catch (error) {
    tell(error instanceof Refused ? error : new Error("The download broke off at a limit: 10 s, 256 MB, 10,000,000 rows. Add a LIMIT, or aggregate."), sql);
  }
}

// -- the answer --

function show(seconds) {
  const { rows, truncated, why } = given;
  byId("answer").hidden = false;
  byId("progress").textContent = `${rows.length.toLocaleString("en")}${truncated ? " first" : ""} ${rows.length === 1 ? "row" : "rows"} in ${numberText(seconds)} s.`;
  byId("cut").textContent = truncated ? `Not the whole answer: ${why}. A download has more.` : "";
  byId("table").replaceChildren(rows.length ? element("table", {}, head(), element("tbody")) : element("p", { class: "empty" }, "No row fits."));
  byId("table").scrollTop = 0;
  moreRows();
  offerChart();
}

function head() {
  const cells = given.columns.map((name, place) =>
    element("th", { scope: "col", title: `${name}: ${given.types[place]}`, class: given.kinds[place] === "number" ? "n" : "" },
      element("span", { class: "cut" }, name || "\u00a0")));
  return element("thead", {}, element("tr", {}, ...cells));
}

function moreRows() {
  const body = byId("table").querySelector("tbody");
  if (!body) return;
  const from = body.children.length;
  body.append(...given.rows.slice(from, from + ROWS_AT_ONCE).map((row) => element("tr", {}, ...row.map(cell))));
  const left = given.rows.length - body.children.length;
  byId("more").hidden = left <= 0;
  byId("more").textContent = `Show ${Math.min(left, ROWS_AT_ONCE)} more of ${left.toLocaleString("en")}`;
}

function cell(value, place) {
  if (value === null) return element("td", { class: given.kinds[place] === "number" ? "n null" : "null" }, "null");
  const text = shownText(value, place);
  const isPlan = given.columns[0] === "explain_key";
  return element("td", { class: given.kinds[place] === "number" ? "n" : isPlan ? "plan" : "", title: text.length > 40 ? String(value) : null },
    element("span", { class: isPlan ? null : "cut", dir: "auto" }, text));
}

function shownText(value, place) {
  if (typeof value !== "number") {
    return given.kinds[place] === "time" ? String(value).replace("T", " ").replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "") : String(value);
  }
  if (Number.isInteger(value)) return String(value).replace("-", "−");
  return String(Number(value.toPrecision(7))).replace("-", "−");
}

// -- the chart --

function offerChart() {
  const can = choices(given);
  byId("drawing").hidden = !can;
  forgetChart(byId("chart"));
  if (!can) return;
  const chosen = chooseFor(given);
  fill("x", chosen.x);
  fill("y", chosen.y);
  fill("colour", chosen.colour, true);
  byId("mark").value = chosen.mark;
  draw();
}

function fill(id, chosen, canBeNone = false) {
  const options = given.columns.map((name, place) => element("option", { value: place }, name.slice(0, 60) || `column ${place + 1}`));
  if (canBeNone) options.unshift(element("option", { value: "" }, "none"));
  byId(id).replaceChildren(...options);
  byId(id).value = chosen === null ? "" : String(chosen);
}

async function draw() {
  if (!byId("drawing").open || !given) return;
  const place = (id) => (byId(id).value === "" ? null : Number(byId(id).value));
  const chosen = { mark: byId("mark").value, x: place("x"), y: place("y"), colour: place("colour") };
  byId("chart-said").textContent = await drawChart(byId("chart"), given, chosen);
}

// -- what there is to ask --

async function showSchema() {
  try {
    const { views, examples } = await askJson("/api/sql/schema");
    byId("examples").replaceChildren(...examples.map(({ question, sql }) =>
      element("li", {}, element("button", { type: "button", class: "plain", click: () => example(sql) }, question))));
    byId("views").replaceChildren(...views.map(viewNode));
  } catch (error) {
    byId("views").replaceChildren(element("p", { class: "error" }, error.message));
  }
}

function example(sql) {
  write(sql);
  run();
}

function viewNode({ name, row, columns }) {
  if (!columns.length) return element("p", { class: "macro" }, insertButton(name, name), element("span", { class: "quiet" }, ` ${row}`));
  return element("details", { class: "view" }, element("summary", {}, element("code", {}, name), element("span", { class: "quiet" }, ` a row: ${row}`)),
    element("ul", { class: "bare" }, ...columns.map((column) => element("li", {}, insertButton(column.name, column.name),
      element("span", { class: "quiet" }, ` ${column.type.toLowerCase()}${column.meaning ? `: ${column.meaning}` : ""}`)))));
}

function insertButton(name, text) {
  return element("button", { type: "button", class: "plain code", title: "Insert it into the query", click: () => insert(text) }, name);
}

// -- beginning --

byId("ask").addEventListener("submit", (event) => { event.preventDefault(); run(); });
byId("stop").addEventListener("click", () => asked?.abort());
byId("csv").addEventListener("click", () => download("csv"));
byId("parquet").addEventListener("click", () => download("parquet"));
byId("more").addEventListener("click", moreRows);
byId("link").addEventListener("click", async () => {
  setHashState({ q: query.value });
  try {
    await navigator.clipboard.writeText(location.href);
    say("Link copied. It fills in the query; whoever opens it runs it.");
  } catch {
    say("The link is in the address bar.");
  }
});
byId("drawing").addEventListener("toggle", draw);
for (const id of ["mark", "x", "y", "colour"]) byId(id).addEventListener("change", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
onKey("/", "write a query", () => query.focus());
onKey("e", "to the examples", () => byId("examples").querySelector("button")?.focus());
onKey("r", "to the list of runs", () => { location.href = "/"; });
// A link only fills in its query: nobody's link makes this machine work.
onHashState(({ q }) => { if (q !== undefined) write(q); });
if (hashState().q !== undefined) query.value = hashState().q;
number();
showSchema();
