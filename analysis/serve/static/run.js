// The page of one run while it is written: timeline, alerts, devices, evidence, the verdict by now.
import { ask, askJson, chip, durationText, element, hashState, momentText, numberText, onHashState, onKey, pageData, setHashState } from "./serve.js";
import { MARGIN, PanelStack, clockFor, thinned } from "./panels.js";

const { run_id: runId, themes } = pageData("run");
const API = `/api/run/${encodeURIComponent(runId)}`;
const byId = (name) => document.getElementById(name);
const host = byId("timeline"), stack = new PanelStack(host, themes), more = new PanelStack(byId("more-panels"), themes);
const MOST_POINTS = 6000, DRAW_MS = 250, SETTLE_MS = 180, LEAST_APART_MS = 3000, WHOLE_MS = 60000;
const STATES = { live: "running", crashed: "crashed", interrupted: "stopped", silent: "silent" };

let told = null; // the timeline as the server last gave it, grown since
let zoom = null; // [from, to] in seconds since the first event; null: all of it, and what comes
let waiting = []; // what is new since the page began to listen, until it is in `told`
let state = null, clockMs = 0, cursor = null;
let drawAt = 0, drawTimer = 0, fetchTimer = 0, fetching = null, fetchedMs = 0, costMs = 0, stale = false;

// -- the timeline --

function isOver() { return Boolean(state) && state.state !== "live" && state.state !== "silent"; }

function isShown(panel) { return !panel.reason && !panel.folded; }

function endS() { return Math.max(told?.end_s ?? 0, 1e-3); }

function arrange() {
  const [from, to] = zoom ?? [0, endS()];
  const room = zoom ? 0 : 0.01 * (to - from);
  for (const each of [stack, more]) each.range = [from - room, to + room];
  const alerts = told.alerts;
  stack.show(told.panels.filter(isShown), alerts);
  more.show(told.panels.filter((panel) => !panel.reason && panel.folded), []);
}

function drawNow() {
  drawTimer = 0;
  drawAt = performance.now();
  if (!told) return;
  arrange();
  stack.draw();
  if (byId("more").open) more.draw();
  placeCursor();
  host.dataset.points = String(told.panels.reduce((sum, panel) => sum + panel.lines.reduce((n, line) => n + line.t.length, 0), 0));
  host.dataset.newest = String(told.origin_ms / 1000 + told.end_s);
  host.dataset.end = String(told.end_s);
}

/** Draw with the next frame, of what is new at most four times a second. */
function draw(soon = true) {
  if (drawTimer) return;
  const wait = soon ? 0 : Math.max(0, DRAW_MS - (performance.now() - drawAt));
  drawTimer = setTimeout(() => requestAnimationFrame(drawNow), wait);
}

async function fetchTimeline() {
  fetching?.abort();
  const control = fetching = new AbortController();
  const part = zoom ? `from_s=${zoom[0]}&to_s=${zoom[1]}&` : "";
  try {
    const answer = await askJson(`${API}/timeline?${part}width=${Math.round(stack.plotWidth)}`, { signal: control.signal });
    if (control !== fetching) return;
    take(answer);
  } catch (error) {
    if (error.name !== "AbortError") trouble(error.message);
  } finally {
    if (control === fetching) fetching = null;
  }
}

function take(answer) {
  const had = told;
  told = answer;
  [fetchedMs, costMs, stale] = [performance.now(), answer.cost_ms, false];
  waiting = waiting.filter((news) => news.version > told.version);
  waiting.forEach(grow);
  const nothing = !told.panels.some((panel) => !panel.reason);
  host.classList.toggle("none", nothing);
  if (nothing) host.dataset.empty = "Nothing to draw yet: no step and no reading has been logged.";
  else delete host.dataset.empty;
  if (!had || keyOf(had) !== keyOf(told)) tellKey();
  tellAbsent();
  tellEdge();
  trouble("");
  draw();
  if (!had) askVerdict(); // its process is heavy: the picture comes first
}

/** Fetch it again once nothing has been asked for a moment; `apart` keeps a busy run from doing so all the time. */
function refetch(apart = false) {
  if (fetchTimer && apart) return;
  clearTimeout(fetchTimer);
  const rest = Math.max(LEAST_APART_MS, 20 * costMs) - (performance.now() - fetchedMs);
  fetchTimer = setTimeout(() => { fetchTimer = 0; fetchTimeline(); }, apart ? Math.max(0, rest) : SETTLE_MS);
}

/** Add what is new to the curves; each stays bounded. */
function grow(news) {
  told.version = news.version;
  told.end_s = Math.max(told.end_s, news.end_s);
  for (const [key, fresh] of Object.entries(news.panels)) {
    const panel = told.panels.find((each) => each.key === key);
    if (!panel || panel.reason) { stale = true; continue; }
    for (const [label, [times, values]] of Object.entries(fresh.lines)) {
      const line = panel.lines.find((each) => each.label === label);
      if (!line) { stale = true; continue; }
      add(line, ["v"], times, [values]);
    }
    if (fresh.band && panel.band) add(panel.band, ["low", "middle", "high"], fresh.band[0], fresh.band.slice(1));
  }
  if (news.again) stale = true;
}

function add(curve, names, times, columns) {
  const last = curve.t.length ? curve.t[curve.t.length - 1] : -Infinity, until = zoom ? zoom[1] : Infinity;
  times.forEach((time, i) => {
    if (time <= last || time > until) return;
    curve.t.push(time);
    names.forEach((name, k) => curve[name].push(columns[k][i]));
  });
  if (curve.t.length <= MOST_POINTS) return;
  if (names.length === 1) [curve.t, curve.v] = thinned(curve.t, curve.v, MOST_POINTS / 6);
  else stale = true;
}

function heedPoints(news) {
  if (!told || fetching) waiting.push(news);
  if (waiting.length > 200) waiting.shift();
  if (!told || news.version <= told.version) return;
  grow(news);
  if (stale || performance.now() - fetchedMs > WHOLE_MS) refetch(true);
  if (!zoom || zoom[1] >= news.end_s - 1) draw(false);
  tellEdge();
}

// -- zoom: permalink, keys, buttons, pointer --

function setZoom(range, push = true) {
  if (range) {
    const span = Math.min(Math.max(range[1] - range[0], 1e-3), endS());
    const from = Math.max(0, Math.min(range[0], endS() - span));
    range = from <= 0 && span >= endS() * 0.9999 ? null : [from, from + span];
  }
  zoom = range;
  if (told) draw();
  refetch();
  tellEdge();
  if (push) remember();
}

let rememberTimer = 0;

/** Write the zoom into the address when it has come to rest: a gesture is one step of the browser's back. */
function remember() {
  clearTimeout(rememberTimer);
  rememberTimer = setTimeout(() => setHashState({ ...hashState(), t: zoom ? zoom.map(shortTime).join(",") : "" }, true), 300);
}

function shortTime(seconds) {
  const span = zoom[1] - zoom[0];
  return String(Number(seconds.toFixed(Math.max(0, Math.ceil(3 - Math.log10(span))))));
}

function zoomOf(hash) {
  const ends = (hash.t ?? "").split(",").map(Number);
  return ends.length === 2 && ends.every(Number.isFinite) && ends[1] > ends[0] && ends[0] >= 0 ? ends : null;
}

function heedAddress(hash) {
  clearTimeout(rememberTimer);
  zoom = zoomOf(hash);
  if (told) draw();
  fetchTimeline();
  tellEdge();
}

function zoomBy(factor, middle = cursor) {
  const [from, to] = zoom ?? [0, endS()];
  const at = middle !== null && middle >= from && middle <= to ? middle : (from + to) / 2;
  setZoom([at - (at - from) * factor, at + (to - at) * factor]);
}

function pan(share) {
  if (zoom) { const by = (zoom[1] - zoom[0]) * share; setZoom([zoom[0] + by, zoom[1] + by]); }
}

const DOES = { in: () => zoomBy(0.5), out: () => zoomBy(2), all: () => setZoom(null) };
byId("zooms").addEventListener("click", (event) => DOES[event.target.closest("button")?.dataset.do]?.());
onKey("+", "zoom in", DOES.in);
onKey("=", "zoom in", DOES.in);
onKey("-", "zoom out", DOES.out);
onKey("0", "show all, and follow what comes", DOES.all);
host.addEventListener("keydown", (event) => {
  const side = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (side && event.shiftKey) pan(side / 4);
  else if (side) {
    const [from, to] = stack.range, at = cursor ?? (from + to) / 2;
    moveCursor(Math.max(from, Math.min(to, at + side * (to - from) / 100)));
  } else if (event.key === "Escape") { setZoom(null); moveCursor(null); } else return;
  event.preventDefault();
});
host.addEventListener("dblclick", DOES.all);
host.addEventListener("wheel", (event) => {
  if (!event.shiftKey) return; // a wheel alone scrolls the page
  event.preventDefault();
  zoomBy((event.deltaY || event.deltaX) > 0 ? 1.25 : 0.8, timeAt(event));
}, { passive: false });

let dragged = null;
host.addEventListener("pointerdown", (event) => { dragged = zoom && { x: event.clientX, range: zoom }; });
window.addEventListener("pointerup", () => { dragged = null; });
host.addEventListener("pointermove", (event) => {
  if (dragged && event.buttons) {
    const by = (dragged.x - event.clientX) / stack.plotWidth * (dragged.range[1] - dragged.range[0]);
    setZoom([dragged.range[0] + by, dragged.range[1] + by]);
  } else moveCursor(timeAt(event));
});
host.addEventListener("pointerleave", () => moveCursor(null));

function timeAt(event) {
  const x = event.clientX - host.getBoundingClientRect().left;
  return x < MARGIN.left || x > MARGIN.left + stack.plotWidth ? null : stack.time(x);
}

// -- the cursor, and what is there --

const rule = host.appendChild(element("div", { class: "cursor" }));
const box = host.appendChild(element("div", { class: "readout", role: "status" }));

function moveCursor(time) {
  cursor = time;
  requestAnimationFrame(placeCursor);
}

function placeCursor() {
  const inside = told && cursor !== null && cursor >= stack.range[0] && cursor <= stack.range[1];
  rule.style.display = box.style.display = inside ? "block" : "none";
  if (!inside) return;
  const x = stack.x(cursor), right = x > host.clientWidth / 2;
  rule.style.left = `${x}px`;
  box.style.left = right ? "auto" : `${x + 10}px`;
  box.style.right = right ? `${host.clientWidth - x + 10}px` : "auto";
  box.replaceChildren(element("b", {}, atText(cursor)), ...readings());
}

function atText(seconds) {
  const clock = clockFor(endS()), at = told.origin_ms ? ` · ${new Date(told.origin_ms + seconds * 1000).toISOString().slice(11, 19)} UTC` : "";
  return `${Number((seconds / clock.seconds).toPrecision(6))} ${clock.symbol}${at}`;
}

function nearest(times, time) {
  let low = 0, high = times.length - 1;
  while (high - low > 1) { const middle = (low + high) >> 1; if (times[middle] < time) low = middle; else high = middle; }
  return Math.abs(times[low] - time) <= Math.abs(times[high] - time) ? low : high;
}

function readings() {
  const reach = (stack.range[1] - stack.range[0]) / 50, rows = [];
  for (const panel of stack.panels) {
    const several = panel.lines.length > 1 || panel.band;
    for (const line of panel.lines) {
      const at = line.t.length ? nearest(line.t, cursor) : -1;
      if (at < 0 || line.v[at] === null || Math.abs(line.t[at] - cursor) > reach || rows.length > 20) continue;
      const name = several ? `${panel.title}, ${line.label}` : panel.title;
      rows.push(element("div", {}, element("span", {}, name), element("span", {}, `${numberText(line.v[at])} ${panel.unit}`)));
    }
  }
  const near = stack.panels.flatMap((panel) => panel.marks).filter((mark) => Math.abs(mark.t - cursor) <= reach / 2).map((mark) => `${told.kinds[mark.kind]}: ${mark.text}`);
  near.push(...told.alerts.filter((alert) => Math.abs(alert.time_s - cursor) <= reach / 2).map((alert) => `${alert.name}: ${alert.text}`));
  return [...rows, ...[...new Set(near)].slice(0, 5).map((text) => element("p", {}, text))];
}

// -- the key, and what is not shown --

function keyOf(whole) {
  const kinds = whole.panels.filter(isShown).flatMap((panel) => [...panel.marks.map((m) => m.kind), ...panel.strips.map((s) => s.kind)]);
  return JSON.stringify([whole.devices, [...new Set(kinds)].sort(), whole.panels.map((panel) => panel.band?.label)]);
}

function tellKey() {
  const shown = told.panels.filter(isShown), entries = [];
  const used = new Set(shown.flatMap((panel) => panel.lines.map((line) => line.device)));
  told.devices.forEach((label, place) => { if (used.has(place)) entries.push(entry(stack.deviceColour(place), label)); });
  new Set(shown.map((panel) => panel.band?.label).filter(Boolean)).forEach((label) => entries.push(entry(stack.colour("many"), label)));
  const kinds = new Set(shown.flatMap((panel) => [...panel.marks.map((m) => m.kind), ...panel.strips.map((s) => s.kind)]));
  kinds.forEach((kind) => entries.push(entry(stack.colour(kind), told.kinds[kind])));
  byId("key").replaceChildren(...entries);
}

function entry(colour, label) {
  const patch = element("span", { class: "patch", "aria-hidden": "true" });
  patch.style.background = colour;
  return element("li", {}, patch, element("span", {}, label));
}

function tellAbsent() {
  const items = told.panels.filter((panel) => panel.reason).map((panel) => element("li", {}, `${panel.title}: ${panel.reason}`));
  byId("absent").hidden = !items.length;
  byId("absent-list").replaceChildren(...items);
  byId("more").hidden = !told.panels.some((panel) => !panel.reason && panel.folded);
}

function tellEdge() {
  const live = state?.state === "live", beyond = zoom && told && zoom[0] >= told.end_s;
  const there = `${isOver() ? "the run ended at" : "the run has come to"} ${durationText(told?.end_s)}`;
  const words = beyond ? `nothing at ${durationText(zoom[0])}${isOver() ? "" : " yet"}: ${there}; 0 shows all` : zoom ? "zoomed: 0 shows all" : live ? "follows what comes" : "";
  if (byId("edge").textContent !== words) byId("edge").textContent = words;
}

// -- beside the timeline --

function trouble(text) {
  byId("trouble").hidden = !text;
  byId("trouble").textContent = text;
}

function heedState(next) {
  const before = state;
  state = next;
  clockMs = next.now_ms - Date.now();
  byId("state").replaceChildren(chip(next.state, STATES[next.state] ?? next.state));
  byId("simulated").hidden = !next.simulated.length;
  byId("simulated").title = next.simulated.join(", ");
  if (changed(before, "alerts")) tellAlerts(next.alerts);
  if (changed(before, "evidence")) tellEvidence(next.evidence);
  if (changed(before, "devices")) tellDevices(next.devices);
  byId("verdict-title").textContent = isOver() ? "Verdict" : "Verdict as it would stand now";
  tellPace();
  tellEdge();
  if (before && before.state === "live" && next.state !== "live") refetch();
}

function changed(before, part) { return !before || before.state !== state.state || JSON.stringify(before[part]) !== JSON.stringify(state[part]); }

function agoS(timeMs) { return Math.max(0, (Date.now() + clockMs - timeMs) / 1000); }

function tellPace() {
  if (!state) return;
  const parts = [];
  if (state.reason) parts.push(state.reason);
  if (state.silent_hosts.length) parts.push(`nothing is heard of ${state.silent_hosts.join(", ")}`);
  if (state.step !== null) parts.push(`step ${state.step.toLocaleString("en")}`);
  if (state.ranks > 1) parts.push(`${state.ranks} ranks, the lowest one's steps`);
  if (state.steps_per_s !== null) parts.push(`${numberText(state.steps_per_s)} steps/s`);
  if (state.newest_ms === null) parts.push("nothing has been logged yet");
  else if (state.state === "live" && agoS(state.newest_ms) > 5) parts.push(`last event ${durationText(agoS(state.newest_ms))} ago`);
  byId("pace").textContent = parts.join(" · ");
}

function tellDevices(devices) {
  const place = byId("devices"), last = Math.max(...devices.map((device) => device.time_ms));
  byId("devices-title").textContent = !devices.length ? "Devices" : isOver() ? "Devices when it ended" : "Devices now";
  byId("devices-when").textContent = isOver() && devices.length ? `Last read ${momentText(new Date(last).toISOString())} UTC, ${durationText(Math.max(0, last - state.origin_ms) / 1000)} into the run.` : "";
  if (!devices.length) { place.replaceChildren(element("p", { class: "empty" }, "No device has given a reading in this run.")); return; }
  const shown = devices[0].values.map((_, k) => k).filter((k) => devices.some((device) => device.values[k].value !== null));
  const head = element("tr", {}, element("th", { scope: "col" }, "Device"), ...shown.map((k) => {
    const { title, short, unit } = devices[0].values[k];
    return element("th", { scope: "col", class: "n", title }, unit ? `${short} (${unit})` : short);
  }));
  const rows = devices.map((device) => element("tr", { "data-time": device.time_ms, "data-stale": device.stale_s },
    element("th", { scope: "row" }, device.label, device.simulated && !/simulated/i.test(device.label) ? " (simulated)" : null, element("span", { class: "age quiet" })),
    ...shown.map((k) => element("td", { class: "n", title: device.values[k].reason || null }, numberText(device.values[k].value)))));
  place.replaceChildren(element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
  tellAges();
}

/** Grey what is old, and say how old: by now while the run goes on, by the last reading of all once it is over. */
function tellAges() {
  const last = Math.max(...state.devices.map((device) => device.time_ms));
  document.querySelectorAll("#devices tr[data-time], #evidence [data-time]").forEach((row) => {
    const age = isOver() ? (last - Number(row.dataset.time)) / 1000 : agoS(Number(row.dataset.time));
    const old = age > Number(row.dataset.stale);
    row.classList.toggle("stale", old);
    row.querySelector(".age").textContent = old ? ` ${durationText(age)} ${isOver() ? "before" : "ago"}` : "";
  });
}

function tellAlerts(alerts) {
  const place = byId("alerts");
  if (!alerts.episodes.length) {
    const none = !isOver() ? (alerts.watched ? "None so far." : "Nothing watches this run for alerts so far.")
      : alerts.watched ? "None." : `None recorded: nothing watched this run; see thermograd replay ${runId}`;
    place.replaceChildren(element("p", { class: "empty" }, none));
    return;
  }
  const items = alerts.episodes.map((each) => element("li", { class: `alert is-${/^(info|warning|critical)$/.test(each.severity) ? each.severity : "info"}` },
    element("div", { class: "row" }, chip(each.severity, each.severity), element("b", {}, each.alert),
      element("button", { type: "button", class: "at", click: () => showMoment(each) }, `at ${durationText(each.from_s)}`),
      each.often ? element("span", { class: "quiet" }, each.often) : null),
    element("p", {}, each.message),
    each.look_at ? element("p", { class: "quiet" }, `Look at: ${each.look_at}`) : null));
  const rest = alerts.more ? [element("p", { class: "quiet" }, `and ${alerts.more} more kinds; thermograd show tells all`)] : [];
  place.replaceChildren(element("ol", { class: "alerts" }, ...items), ...rest);
}

function showMoment(episode) {
  const reach = Math.max(10, endS() / 40);
  setZoom([episode.from_s - reach, Math.min(episode.end_s, episode.from_s + 20 * reach) + reach]);
  moveCursor(episode.from_s);
  host.focus({ preventScroll: true });
  host.scrollIntoView({ block: "nearest" });
}

function tellEvidence(evidence) {
  const place = byId("evidence");
  if (!evidence) { place.replaceChildren(element("p", { class: "empty" }, isOver()
    ? "None was kept: it is worked out while a run is recorded, and this one had no agent that did so."
    : "None so far: the agent works it out as readings come.")); return; }
  if (!evidence.devices.length) { place.replaceChildren(element("p", { class: "empty" }, `${isOver() ? "None" : "None so far"}: no device has given readings that can be compared with the training.`)); return; }
  const bars = evidence.devices.map((device) => {
    const known = device.e_value !== null && device.bound, share = known ? Math.max(0, Math.min(1, Math.log10(Math.max(device.e_value, 1)) / Math.log10(device.bound))) : 0;
    const fill = element("span", { class: known && device.e_value >= device.bound ? "over" : "" });
    fill.style.width = `${100 * share}%`;
    const words = known ? `${numberText(device.e_value)} of ${numberText(device.bound)}` : "–";
    const withheld = device.withheld ? `, ${device.withheld} withheld: as much was found where no coupling is` : "";
    return element("li", { "data-time": device.time_ms, "data-stale": 10 },
      element("div", { class: "row" }, element("span", { class: "grow" }, device.label), element("b", {}, `${device.is_taxed ? "~" : ""}${words}`), element("span", { class: "age quiet" })),
      element("div", { class: "meter", "aria-hidden": "true" }, fill), withheld ? element("p", { class: "quiet" }, withheld.slice(2)) : null);
  });
  const about = "The e-value of the betting monitor against its bound: 1 is no evidence, and one uncoupled run in twenty at most reaches the bound.";
  place.replaceChildren(element("p", { class: "quiet" }, about), element("ul", { class: "evidence" }, ...bars));
  tellAges();
}

// -- the verdict --

let verdictTimer = 0, isGone = false;

async function askVerdict() {
  clearTimeout(verdictTimer);
  if (isGone) return;
  let again = 60000;
  if (!document.hidden) {
    try {
      const answer = await (await ask(`${API}/verdict`, { body: {} })).json();
      if (isGone) return;
      tellVerdict(answer);
      if (answer.working) again = 1500;
      else if (answer.current && state && state.state !== "live") again = 0;
    } catch (error) { if (!isGone) byId("verdict-age").textContent = error.message; }
  }
  if (again && !isGone) verdictTimer = setTimeout(askVerdict, again);
}

function tellVerdict({ verdict, working }) {
  const box = byId("verdict"), age = byId("verdict-age");
  if (!verdict) { age.textContent = working ? `Computing: this takes from seconds to minutes${state?.state === "live" ? ", beside the training" : ""}.` : ""; return; }
  if (verdict.error) {
    byId("verdict-sentence").textContent = "No verdict: it could not be worked out.";
    age.textContent = verdict.error;
    return;
  }
  box.className = `verdict ${/^[a-z_]+$/.test(verdict.verdict) ? verdict.verdict : ""}`;
  byId("verdict-sentence").textContent = verdict.sentence;
  byId("verdict-facts").replaceChildren(...Object.entries(verdict.facts).filter(([, text]) => text).map(([title, text]) => element("div", {}, element("dt", {}, title), element("dd", {}, text))));
  const since = agoS(verdict.at_ms), over = `computed ${since < 5 ? "just now" : `${durationText(since)} ago`} over ${durationText(verdict.span_s)} of the run`;
  age.textContent = `${verdict.simulated ? "Simulated devices. " : ""}${over[0].toUpperCase()}${over.slice(1)}${working ? "; computing anew" : ""}.`;
}

// -- what comes --

/** Say that nothing more comes, and ask for nothing more. */
function heedGone({ error }) {
  isGone = true;
  clearTimeout(verdictTimer);
  trouble(`Nothing more comes: ${error}.`);
  const sentence = byId("verdict-sentence");
  if (sentence.textContent === "It is being worked out.") sentence.textContent = `No verdict: ${error}.`;
  byId("verdict-age").textContent = "";
}

function listen() {
  const source = new EventSource(`${API}/events`);
  source.addEventListener("hello", () => { trouble(""); waiting = []; fetchTimeline(); });
  source.addEventListener("points", (event) => heedPoints(JSON.parse(event.data)));
  source.addEventListener("state", (event) => heedState(JSON.parse(event.data)));
  source.addEventListener("resync", () => refetch(true));
  source.addEventListener("gone", (event) => { source.close(); heedGone(JSON.parse(event.data)); });
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) { fetchTimeline(); setTimeout(listen, 5000); } // what it answers says why
    else trouble("The server does not answer; what is shown is as of before. Trying again.");
  };
}

zoom = zoomOf(hashState());
onHashState(heedAddress);
window.addEventListener("resize", () => { if (told) draw(); refetch(); });
stack.dark.addEventListener("change", () => { if (told) { tellKey(); draw(); } });
byId("more").addEventListener("toggle", () => { if (told) draw(); });
document.addEventListener("visibilitychange", () => { if (!document.hidden && told) askVerdict(); });
setInterval(() => { if (state) { tellPace(); tellAges(); } }, 1000);
listen();
