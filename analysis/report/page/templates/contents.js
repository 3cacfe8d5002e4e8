(function () {
  "use strict";
  // The contents stay in sight and mark the part that is read; where there is no room they are folded.
  var nav = document.querySelector("nav.contents"), fold = nav && nav.querySelector("details");
  if (!nav) { return; }
  var narrow = window.matchMedia("(max-width: 54rem)"), waiting = false;
  var parts = Array.from(nav.querySelectorAll("a")).map(function (link) {
    return { link: link, heading: document.getElementById(link.hash.slice(1)) };
  }).filter(function (part) { return part.heading; });

  function fit() { fold.open = !narrow.matches; }
  function mark() {
    waiting = false;
    var line = nav.getBoundingClientRect().bottom + 24, end = window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 2;
    var read = parts.filter(function (part) { return part.heading.getBoundingClientRect().top <= line; });
    var current = (end ? parts : read.length ? read : parts.slice(0, 1)).slice(-1)[0];
    parts.forEach(function (part) {
      if (part === current) { part.link.setAttribute("aria-current", "location"); } else { part.link.removeAttribute("aria-current"); }
    });
    if (current) { fold.querySelector("summary span").textContent = narrow.matches ? ": " + current.link.textContent : ""; }
  }
  function soon() { if (!waiting) { waiting = true; window.requestAnimationFrame(mark); } }

  fit();
  mark();
  narrow.addEventListener("change", function () { fit(); mark(); });
  nav.addEventListener("click", function (event) { if (narrow.matches && event.target.closest("a")) { fold.open = false; } });
  window.addEventListener("scroll", soon, { passive: true });
  window.addEventListener("resize", soon);
})();
