// Where in a query an error is: its line, shown with the place marked.
import { element } from "./serve.js";

/** Return the line and column, from 1, of a place in a text. */
export function lineAndColumn(text, position) {
  const before = [...text].slice(0, position).join("").split("\n");
  return { line: before.length, column: [...before.at(-1)].length + 1 };
}

/** Return an error with the line that it is about; `told` is the server's answer. */
export function markedError(sql, told) {
  const sentence = element("p", { class: "error" }, told.error ?? "The query was refused.");
  const position = told.position;
  if (position === null || position === undefined) return element("div", { class: "sql-error" }, sentence);
  const { line, column } = lineAndColumn(sql, position);
  const text = [...sql.split("\n")[line - 1]];
  const from = Math.max(0, column - 60);
  const end = column - 1 + wordLength(text.slice(column - 1).join(""));
  const code = element("pre", { class: "error", tabindex: "0" },
    `${from ? "... " : ""}${text.slice(from, column - 1).join("")}`,
    element("mark", {}, text.slice(column - 1, end).join("") || " "),
    text.slice(end, end + 60).join(""));
  const place = element("p", { class: "quiet" }, `Line ${line}, column ${column}:`);
  return element("div", { class: "sql-error" }, sentence, place, code);
}

/** Return how many characters a word has that a text begins with, at least one. */
export function wordLength(text) {
  return Math.max(1, (text.match(/^[\p{L}\p{N}_]+/u) ?? [""])[0].length);
}
