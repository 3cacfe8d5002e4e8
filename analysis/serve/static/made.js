// A report or comparison: asked for, waited for, and shown in a frame that may run its scripts and no more.
import { askJson, durationText, element, pageData, say } from "./serve.js";

const WORDS = {
  "report.html": "open alone", "figure.png": "PNG", "figure.pdf": "PDF", "compare.png": "PNG", "compare.pdf": "PDF",
  "analysis.json": "JSON", "compare.json": "JSON",
};
const state = document.getElementById("made-state");
const begun = performance.now();

function told(job) {
  const since = durationText((performance.now() - begun) / 1000);
  if (job.state === "waiting") return `${job.before} made before it; ${since} so far.`;
  return `Being made in a process of its own: ${job.doing || "starting"}; ${since} so far.`;
}

function show(job) {
  state.hidden = true;
  const frame = document.getElementById("made");
  frame.src = job.files["report.html"];
  frame.hidden = false;
  for (const [name, path] of Object.entries(job.files)) {
    const alone = name === "report.html";
    const link = alone ? { href: path, target: "_blank" } : { href: path, download: name };
    document.getElementById("downloads").append(element("a", link, WORDS[name]), " ");
  }
  say("It is ready.");
}

async function make() {
  const { path, body } = pageData("ask");
  let job = await askJson(path, { body });
  while (job.state !== "done") {
    if (job.state === "failed") throw new Error(job.error);
    state.textContent = told(job);
    await new Promise((resolve) => setTimeout(resolve, 500));
    job = await askJson(`/api/made/${encodeURIComponent(job.job)}`);
  }
  show(job);
}

make().catch((error) => {
  state.hidden = true;
  document.getElementById("made-error").textContent = error.message;
});
