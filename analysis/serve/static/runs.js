// The table of runs: found, sorted and cut by the server; curves are fetched for the rows in view.
import {
  Refused, ask, askJson, chip, drawn, durationText, element, hashState, momentText, numberText, onHashState, onKey,
  pageData, say, setHashState,
} from "./serve.js";
import { markedError } from "./sql_error.js";

const PAGE = 50;
const REFRESH_MS = 3000;
const CURVES_REFRESH_MS = 10000;
const MOST_CURVES = 60;
const words = pageData("words");
const byId = (id) => document.getElementById(id);

const COLUMNS = [
  { label: "", name: "", className: "choose" },
  { label: "Run", name: "name", sorts: "name", className: "name" },
  { label: "State", name: "state", sorts: "state" },
  { label: "Verdict", name: "verdict", sorts: "verdict" },
  { label: "Loss", name: "loss_curve", sorts: "loss", className: "curve" },
  { label: "Gradient norm", name: "norm_curve", className: "curve" },
  { label: "Alerts", name: "alerts", sorts: "-alerts", className: "n" },
  { label: "Steps", name: "steps", sorts: "-steps", className: "n" },
  { label: "Duration", name: "duration_s", sorts: "-duration_s", className: "n" },
  { label: "Devices", name: "devices", className: "devices" },
  { label: "Started, UTC", name: "started", sorts: "-started", className: "started" },
];

let state = {};
let total = 0;
let drawnText = "";
let asked = null;
let current = -1;
const selected = new Map();
const rowNodes = new Map();
const curves = new Map();

// -- asking --

function address() {
  const sort = state.sort || "-started";
  const asks = new URLSearchParams({
    sort: sort.replace(/^-/, ""), desc: sort.startsWith("-") ? "1" : "0",
    offset: String(PAGE * (pageNumber() - 1)), limit: String(PAGE),
  });
  if (state.search) asks.set("search", state.search);
  if (state.where) asks.set("where", state.where);
  return `/api/runs?${asks}`;
}

function pageNumber() {
  return Math.max(1, Math.floor(Number(state.page)) || 1);
}

async function load() {
  asked?.abort();
  const mine = asked = new AbortController();
  try {
    const text = await (await ask(address(), { signal: mine.signal })).text();
    if (mine !== asked) return;
    tell(null);
    if (text !== drawnText) {
      drawnText = text;
      show(JSON.parse(text));
    }
  } catch (error) {
    if (error.name !== "AbortError") tell(error);
  } finally {
    if (mine === asked) {
      asked = null;
      byId("table-box").removeAttribute("aria-busy");
    }
  }
}

function tell(error) {
  const ofWhere = error instanceof Refused && error.told.field === "where";
  byId("where-error").replaceChildren(...(ofWhere ? [markedError(state.where, error.told)] : []));
  byId("where").setAttribute("aria-invalid", String(ofWhere));
  byId("trouble").textContent = error && !ofWhere ? error.message : "";
  if (ofWhere) {
    drawnText = "";
    show({ rows: [], total: 0 }, true);
  }
}

// -- drawing --

function show(answer, isWrong = false) {
  total = answer.total;
  const pages = Math.max(1, Math.ceil(total / PAGE));
  if (pageNumber() > pages && total) {
    change({ page: pages });
    return;
  }
  const focused = document.activeElement?.closest?.("tr")?.dataset.run;
  const rows = answer.rows.map(rowNode);
  if (!sameNodes(byId("rows").children, rows)) byId("rows").replaceChildren(...rows);
  for (const known of [...rowNodes.keys()]) {
    if (!answer.rows.some((row) => row.run_id === known)) rowNodes.delete(known);
  }
  current = rows.findIndex((row) => row.dataset.run === focused);
  byId("table-box").hidden = !rows.length;
  showCounts(rows.length, isWrong);
  showSorting();
  showSelection();
  rows.forEach((row) => watcher.observe(row));
}

function sameNodes(there, wanted) {
  return there.length === wanted.length && wanted.every((node, place) => there[place] === node);
}

function showCounts(shown, isWrong) {
  const first = PAGE * (pageNumber() - 1) + 1;
  const isFiltered = Boolean(state.search || state.where);
  byId("count").textContent = isWrong ? "" : `${total.toLocaleString("en")} ${total === 1 ? "run" : "runs"}${isFiltered ? " found" : ""}`;
  byId("clear").hidden = !isFiltered;
  byId("pager").hidden = total <= PAGE;
  byId("part").textContent = `${first.toLocaleString("en")} to ${(first + shown - 1).toLocaleString("en")} of ${total.toLocaleString("en")}`;
  byId("previous").disabled = first === 1;
  byId("next").disabled = first + PAGE > total;
  byId("previous").textContent = "Previous";
  byId("next").textContent = "Next";
  const none = byId("none");
  none.hidden = shown > 0 || isWrong;
  if (!none.hidden) none.replaceChildren(...(isFiltered ? nothingFound() : nothingYet()));
}

function nothingFound() {
  return [element("p", {}, "No run fits. ", element("button", { type: "button", click: clear }, "Show all runs"))];
}

function nothingYet() {
  const ways = [
    ["See it at work, with a simulated GPU:", "thermograd demo"],
    ["Record your own training, without changing it:", "thermograd run python train.py"],
    ["Take in a log that you have:", "thermograd import LOGS"],
  ];
  return [
    element("h2", {}, "No run yet"),
    element("p", {}, "Nothing has been recorded here. In a terminal, in the same folder:"),
    ...ways.map(([why, command]) => element("div", { class: "way" }, element("p", {}, why), commandLine(command))),
    element("p", { class: "quiet" }, "The run appears here by itself within seconds."),
  ];
}

function commandLine(command) {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(command);
      say("Copied.");
    } catch {
      say("The browser did not let us copy: select the text.");
    }
  };
  return element("div", { class: "row command" }, element("code", {}, command),
    element("button", { type: "button", click: copy, "aria-label": `Copy: ${command}` }, "Copy"));
}

function rowNode(row) {
  const text = JSON.stringify(row);
  const known = rowNodes.get(row.run_id);
  if (known?.text === text) return known.node;
  const cells = COLUMNS.map((column) => cell(row, column));
  if (known) {
    known.text = text;
    known.row = row;
    refill(known.node, cells);
    drawCurves(row.run_id);
    return known.node;
  }
  const node = element("tr", { "data-run": row.run_id }, ...cells);
  rowNodes.set(row.run_id, { node, text, row });
  drawCurves(row.run_id);
  return node;
}

/** Replace the cells that differ; what has the focus, or is a curve, stays where it is. */
function refill(node, cells) {
  cells.forEach((fresh, place) => {
    const old = node.children[place];
    if (!old.isEqualNode(fresh) && !old.classList.contains("curve") && !old.contains(document.activeElement)) {
      old.replaceWith(fresh);
    }
  });
}

const CELLS = {
  "": (row) => [element("input", {
    type: "checkbox", "aria-label": `Select ${shownName(row)}`, checked: selected.has(row.run_id),
    change: (event) => select(row, event.target.checked),
  })],
  name: (row) => [
    element("a", { class: "cut open", href: `/run/${encodeURIComponent(row.run_id)}`, title: shownName(row), dir: "auto" }, shownName(row)),
    element("span", { class: "row under" },
      element("span", { class: "cut id", title: row.run_id }, row.run_id),
      ...isSimulated(row) ? [element("span", { class: "tag is-simulated", title: "Its devices are simulated: no measurement of hardware." }, "simulated")] : [],
      ...tagsOf(row)),
  ],
  state: (row) => [chip(row.state, words.states[row.state] ?? row.state), ...reason(row)],
  verdict: (row) => [row.verdict ? chip(row.verdict, words.verdicts[row.verdict]) : element("span", { class: "quiet" }, "no report")],
  loss_curve: (row) => [element("span", { class: "spark", "data-of": "loss" }), element("span", { class: "last" }, numberText(row.loss))],
  norm_curve: () => [element("span", { class: "spark", "data-of": "grad_norm" })],
  alerts: (row) => [row.alerts ? element("b", { class: "alerts" }, row.alerts.toLocaleString("en")) : "0"],
  steps: (row) => [(row.steps ?? 0).toLocaleString("en")],
  duration_s: (row) => [durationText(row.duration_s)],
  devices: (row) => [element("span", { class: "cut", title: (row.devices ?? []).slice(0, 64).join("\n") }, row.devices_label || "–")],
  started: (row) => [momentText(row.started)],
};

function cell(row, column) {
  return element("td", { class: column.className ?? "", "data-label": column.label }, ...CELLS[column.name](row));
}

function shownName(row) {
  return /[\p{L}\p{N}\p{P}\p{S}]/u.test(row.name ?? "") ? row.name : row.run_id; // one that can be seen
}

function isSimulated(row) {
  return row.state === "simulated" || (row.devices_label ?? "").includes("simulated");
}

function tagsOf(row) {
  const tags = row.tags ?? [];
  const shown = tags.slice(0, 4).map((tag) => element("span", { class: "tag", title: tag }, tag));
  if (tags.length > 4) shown.push(element("span", { class: "quiet", title: tags.slice(4, 64).join(", ") }, `+${tags.length - 4}`));
  return shown;
}

function reason(row) {
  return row.reason ? [element("span", { class: "cut quiet reason", title: row.reason }, row.reason)] : [];
}

// -- small curves --

const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) entry.target.inView = entry.isIntersecting;
  setTimeout(fetchCurves, 60);
}, { rootMargin: "120px" });
let fetching = false;

async function fetchCurves() {
  const now = Date.now();
  const wanted = [...rowNodes].filter(([run, { node, row }]) => {
    const known = curves.get(run);
    const isStale = !known || (row.state === "live" && now - known.at > CURVES_REFRESH_MS);
    return node.isConnected && node.inView && isStale;
  }).map(([run]) => run).slice(0, MOST_CURVES);
  if (!wanted.length || fetching) return;
  fetching = true;
  try {
    const asks = new URLSearchParams(wanted.map((run) => ["run", run]));
    const found = await askJson(`/api/sparklines?${asks}`);
    for (const run of wanted) {
      curves.set(run, { at: Date.now(), ...found[run] });
      drawCurves(run);
    }
  } catch {
    for (const run of wanted) curves.set(run, { at: Date.now() }); // the table stands without curves
  } finally {
    fetching = false;
  }
  if (wanted.length === MOST_CURVES) fetchCurves();
}

function drawCurves(run) {
  const known = curves.get(run);
  const node = rowNodes.get(run)?.node;
  if (!known || !node) return;
  for (const place of node.querySelectorAll(".spark")) {
    const values = known[place.dataset.of] ?? [];
    place.replaceChildren(...curve(values, place.dataset.of === "loss" ? "loss" : "gradient norm"));
  }
}

function curve(values, name) {
  const known = values.filter((value) => Number.isFinite(value));
  if (known.length < 2) return [];
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const at = (value, place) => `${(place / (values.length - 1) * 96 + 2).toFixed(1)} ${(22 - (value - low) / (high - low || 1) * 20).toFixed(1)}`;
  let path = "";
  let isDown = false;
  values.forEach((value, place) => {
    if (Number.isFinite(value)) path += `${isDown ? "L" : "M"}${at(value, place)}`;
    isDown = Number.isFinite(value);
  });
  const told = `${name}: from ${numberText(known[0])} to ${numberText(known.at(-1))}, between ${numberText(low)} and ${numberText(high)}`;
  return [drawn("svg", { viewBox: "0 0 100 24", role: "img", "aria-label": told, preserveAspectRatio: "none" },
    drawn("title", {}, told), drawn("path", { d: path }))];
}

// -- choosing --

function change(some, push = true) {
  state = { ...state, page: "", ...some };
  if (Number(state.page) === 1) state.page = "";
  setHashState(state, push);
  fillIn();
  showSorting();
  byId("table-box").setAttribute("aria-busy", "true");
  load();
}

function fillIn() {
  for (const name of ["search", "where"]) {
    const box = byId(name);
    if (document.activeElement !== box || !box.value.trim()) box.value = state[name] ?? "";
  }
}

function clear() {
  byId("search").value = byId("where").value = "";
  change({ search: "", where: "" });
  byId("search").focus();
}

function sortBy(column) {
  const now = state.sort || "-started";
  const opposite = (sort) => (sort.startsWith("-") ? sort.slice(1) : `-${sort}`);
  const isNow = now.replace("-", "") === column.sorts.replace("-", "");
  change({ sort: isNow ? opposite(now) : column.sorts });
}

function showSorting() {
  const sort = state.sort || "-started";
  for (const [place, column] of COLUMNS.entries()) {
    if (!column.sorts) continue;
    const isNow = sort.replace("-", "") === column.sorts.replace("-", "");
    const head = byId("head").children[place];
    if (isNow) head.setAttribute("aria-sort", sort.startsWith("-") ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  }
}

function select(row, isChosen) {
  if (isChosen) selected.set(row.run_id, row);
  else selected.delete(row.run_id);
  showSelection();
}

function showSelection() {
  const count = selected.size;
  byId("selection").hidden = count === 0;
  byId("compare").disabled = count < 2;
  const names = [...selected.values()].map((row) => shownName(row).slice(0, 40));
  byId("selected").textContent = count === 1 ? `${names[0]}: select one more to compare` : `${count} runs: ${names.slice(0, 4).join(", ")}${count > 4 ? ", ..." : ""}`;
  for (const { node, row } of rowNodes.values()) {
    node.classList.toggle("chosen", selected.has(row.run_id));
    node.querySelector("input").checked = selected.has(row.run_id);
  }
}

function compare() {
  if (selected.size < 2) {
    say("Select two runs or more: x on the row.");
    return;
  }
  location.href = `/compare?${new URLSearchParams([...selected.keys()].map((run) => ["run", run]))}`;
}

// -- keys --

function rowAt(place) {
  return byId("rows").children[place];
}

function move(by) {
  const held = document.activeElement?.closest?.("#rows tr");
  if (held) current = [...byId("rows").children].indexOf(held);
  const last = byId("rows").children.length - 1;
  current = Math.max(0, Math.min(last, current + by));
  const link = rowAt(current)?.querySelector("a.open");
  link?.focus();
  link?.closest("tr").scrollIntoView({ block: "nearest" });
}

function toggleCurrent() {
  const box = rowAt(current)?.querySelector("input");
  if (box) box.click();
  else say("Go to a row first: j and k.");
}

function turn(by) {
  const button = byId(by > 0 ? "next" : "previous");
  if (!byId("pager").hidden && !button.disabled) change({ page: pageNumber() + by });
}

onKey("/", "search", () => byId("search").select());
onKey("w", "write a condition in SQL", () => byId("where").select());
onKey("j", "next run", () => move(1));
onKey("k", "previous run", () => move(-1));
onKey("Enter", "open the run", () => rowAt(current)?.querySelector("a.open").click());
onKey("x", "select the run, or not", toggleCurrent);
onKey("c", "compare the selected runs", compare);
onKey("n", "next page", () => turn(1));
onKey("p", "previous page", () => turn(-1));
onKey("s", "to the page SQL", () => { location.href = "/sql"; });

// -- beginning --

function headCell(column) {
  if (column.name === "") return element("td", { class: "choose" });
  const className = column.className ?? "";
  if (!column.sorts) return element("th", { scope: "col", class: className }, column.label);
  return element("th", { scope: "col", class: className },
    element("button", { type: "button", class: "sort", click: () => sortBy(column) }, column.label));
}

let typing = 0;

/** Take over what both boxes hold, also what was typed a moment ago. */
function choose(push) {
  clearTimeout(typing);
  const wanted = { search: byId("search").value.trim(), where: byId("where").value.trim() };
  const isNow = wanted.search === (state.search ?? "") && wanted.where === (state.where ?? "");
  if (!isNow) change(wanted, push);
}

byId("head").append(...COLUMNS.map(headCell));
byId("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => choose(false), 200);
});
byId("choice").addEventListener("submit", (event) => {
  event.preventDefault();
  choose(true);
});
byId("where").addEventListener("change", () => choose(true));
byId("clear").addEventListener("click", clear);
byId("previous").addEventListener("click", () => turn(-1));
byId("next").addEventListener("click", () => turn(1));
byId("compare").addEventListener("click", compare);
byId("unselect").addEventListener("click", () => { selected.clear(); showSelection(); });
onHashState((now) => {
  state = now;
  byId("search").value = state.search ?? "";
  byId("where").value = state.where ?? "";
  load();
});
state = hashState();
fillIn();
load();
setInterval(() => {
  if (document.visibilityState === "visible" && !asked && !byId("where-error").firstChild) load().then(fetchCurves);
}, REFRESH_MS);
