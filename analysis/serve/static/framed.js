// A report or a comparison: asked for, waited for, and then shown in a frame that can reach nothing of this page.
import { askJson, durationText, onKey, pageData } from "./serve.js";

const { make, body } = pageData("framed");
const byId = (id) => document.getElementById(id);
const SLOW_S = 20;

function tellOf(job) {
  byId("making-words").textContent = job.before
    ? `${job.before} made before it.`
    : `It is being made from the run's log${job.doing ? `: ${job.doing}` : ""}.`;
}

async function made(again) {
  let job = await askJson(make, { body: { ...body, again } });
  while (job.state !== "done") {
    if (job.state === "failed") throw new Error(job.error);
    tellOf(job);
    await new Promise((resolve) => setTimeout(resolve, 400));
    job = await askJson(`/api/made/${encodeURIComponent(job.job)}`);
  }
  return job.files["report.html"];
}

function tellTime(began) {
  const seconds = (performance.now() - began) / 1000;
  byId("making-for").textContent = seconds < 1 ? "" : `${durationText(seconds)} so far${seconds > SLOW_S ? ". A long run takes a while; other pages go on meanwhile." : ""}`;
}

async function begin(again) {
  const began = performance.now();
  const ticking = setInterval(() => tellTime(began), 500);
  for (const id of ["alone", "download", "again", "frame"]) byId(id).hidden = true;
  byId("making").hidden = false;
  byId("trouble").textContent = "";
  try {
    show(await made(again));
  } catch (error) {
    byId("trouble").textContent = error.message;
  } finally {
    clearInterval(ticking);
    byId("making").hidden = true;
    byId("again").hidden = false;
  }
}

function show(path) {
  byId("frame").src = path;
  byId("alone").href = byId("download").href = path;
  for (const id of ["frame", "alone", "download"]) byId(id).hidden = false;
}

byId("again").addEventListener("click", () => begin(true));
onKey("o", "open alone", () => byId("alone").click());
onKey("r", "to the list of runs", () => { location.href = "/"; });
begin(false);
