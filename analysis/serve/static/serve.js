// What every page shares: elements made of text, requests, keys, the state in the address.
const SVG = "http://www.w3.org/2000/svg";

/** Return what the server wrote into the page as JSON, by the name it was given. */
export function pageData(name) {
  const node = document.getElementById(`data-${name}`);
  return node ? JSON.parse(node.textContent) : null;
}

/** Return an element. Attributes are set, never parsed; content is elements and text, never HTML. */
export function element(tag, attributes = {}, ...content) {
  return filled(document.createElement(tag), attributes, content);
}

/** Return an element of a drawing. */
export function drawn(tag, attributes = {}, ...content) {
  return filled(document.createElementNS(SVG, tag), attributes, content);
}

function filled(node, attributes, content) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...content.filter((each) => each !== null && each !== undefined && each !== false));
  return node;
}

/** Return a chip: a state or a verdict, with its words and the colour that serve.css has for it. */
export function chip(kind, words) {
  return kind
    ? element("span", { class: `chip is-${kind.replace(/[^a-z_]/g, "")}` }, words ?? kind)
    : element("span", { class: "chip none" }, words ?? "none");
}

// -- requests --

/** An answer that is none, with what the server says of it. */
export class Refused extends Error {
  constructor(status, told) {
    super(told.error ?? `The server refused the request (${status}).`);
    this.status = status;
    this.told = told;
  }
}

/** Fetch one of the server's answers; one that is no success, or says what is wrong with a query, is thrown as `Refused`. */
export async function ask(path, { body, signal } = {}) {
  const headers = { "X-Thermograd": "1" };
  const options = { headers, signal, cache: "no-cache", credentials: "same-origin" };
  if (body !== undefined) {
    options.method = "POST";
    options.body = JSON.stringify(body);
    headers["Content-Type"] = "application/json";
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, { error: "The server does not answer. Is thermograd serve still running?" });
  }
  if (response.ok && !response.headers.has("X-Refused")) return response;
  throw new Refused(response.status, await response.json().catch(() => ({})));
}

export async function askJson(path, options) {
  return (await ask(path, options)).json();
}

// -- numbers and times, as the report writes them --

const DASH = "–";

export function numberText(value) {
  if (value === null || value === undefined || value === "") return DASH;
  if (typeof value !== "number") return String(value);
  const size = Math.abs(value);
  if (value && (size >= 1e6 || size < 1e-3)) return value.toExponential(2);
  return String(Number(value.toPrecision(4))).replace("-", "−");
}

export function durationText(seconds) {
  if (seconds === null || seconds === undefined) return DASH;
  if (seconds < 100) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 100) return `${minutes} min`;
  const hours = seconds / 3600;
  return hours < 48 ? `${Math.floor(hours)} h ${Math.round((hours % 1) * 60)} min` : `${numberText(hours / 24)} days`;
}

export function momentText(iso) {
  if (!iso) return DASH;
  const moment = new Date(iso);
  return Number.isNaN(moment.getTime()) ? String(iso) : `${moment.toISOString().slice(0, 16).replace("T", " ")}`;
}

// -- the state in the address: `#where=...&sort=...` --

export function hashState() {
  return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
}

/** Write the state into the address; `push` makes a step that the browser's back returns from. */
export function setHashState(state, push = false) {
  const known = Object.entries(state).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const hash = new URLSearchParams(known).toString().replace(/%2C/g, ",");
  const address = `${location.pathname}${location.search}${hash ? `#${hash}` : ""}`;
  if (address === location.pathname + location.search + location.hash) return;
  history[push ? "pushState" : "replaceState"](null, "", address);
}

export function onHashState(heed) {
  window.addEventListener("popstate", () => heed(hashState()));
}

// -- words for a moment, keys --

let silence = 0;

/** Say something for a few seconds; who does not see the page hears it. */
export function say(text) {
  const node = document.getElementById("said");
  node.textContent = text;
  clearTimeout(silence);
  silence = setTimeout(() => { node.textContent = ""; }, 4000);
}

const keys = new Map();

/** Let a key do something wherever no text is being written; the words are shown by `?`. */
export function onKey(key, words, act) {
  keys.set(key, { words, act });
}

function writes(target) {
  return target.matches("textarea, select, input:not([type=checkbox]), [contenteditable]");
}

function heedKey(event) {
  const known = keys.get(event.key);
  if (!known || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.target instanceof Element && writes(event.target)) return;
  if (document.querySelector("dialog[open]")) return;
  if (event.key === "Enter" && event.target.matches("a, button, summary, input")) return;
  event.preventDefault();
  known.act(event);
}

function showKeys() {
  const list = document.getElementById("keys-list");
  list.replaceChildren(...[...keys].flatMap(([key, { words }]) =>
    [element("dt", {}, element("kbd", {}, key)), element("dd", {}, words)]));
  document.getElementById("keys").showModal();
}

onKey("?", "show the keys", showKeys);
document.addEventListener("keydown", heedKey);
document.getElementById("keys-button")?.addEventListener("click", showKeys);
document.getElementById("skip")?.addEventListener("click", (event) => {
  event.preventDefault(); // the address holds the state of the page
  document.getElementById("main").focus();
});
