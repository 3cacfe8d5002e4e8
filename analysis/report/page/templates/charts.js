(function () {
  "use strict";
  var dark = window.matchMedia("(prefers-color-scheme: dark)");
  var charts = {}, themes = {}, timer = 0;

  function column(packed, count) {
    if (Array.isArray(packed)) { return packed; }
    if ("i" in packed) { return packed.i.map(function (place) { return packed.v[place]; }); }
    return new Array(count).fill(packed.k);
  }
  function unpacked(spec) {
    Object.keys(spec.datasets || {}).forEach(function (name) {
      var packed = spec.datasets[name], names = Object.keys(packed.c), rows = new Array(packed.n);
      var columns = names.map(function (each) { return column(packed.c[each], packed.n); });
      for (var i = 0; i < packed.n; i += 1) {
        rows[i] = {};
        for (var j = 0; j < names.length; j += 1) { rows[i][names[j]] = columns[j][i]; }
      }
      spec.datasets[name] = rows;
    });
    return spec;
  }
  function read() {
    document.querySelectorAll('script[type="application/json"][id^="data-"]').forEach(function (node) {
      var name = node.id.slice(5), value = JSON.parse(node.textContent);
      if (name === "themes") { themes = value; return; }
      charts[name] = { spec: unpacked(value), host: document.getElementById("chart-" + name), view: null, drawn: "", zoom: null };
    });
  }

  // -- drawing --
  function fitted(spec, room) {
    var copy = Object.assign({}, spec), margin = 92, side = 62;
    if (spec.vconcat) {
      copy.vconcat = spec.vconcat.map(function (view) { return Object.assign({}, view, { width: Math.max(160, room - margin) }); });
    } else if (spec.concat) {
      copy.columns = room >= 620 ? 2 : 1;
      var shares = (spec.usermeta && spec.usermeta.shares) || [0.5, 0.5];
      copy.concat = spec.concat.map(function (view, i) {
        var width = copy.columns === 2 ? (room - 2 * side - 24) * shares[i] : room - side - 12;
        return Object.assign({}, view, { width: Math.max(140, width) });
      });
    } else {
      copy.width = Math.max(160, room - margin);
    }
    return copy;
  }
  function draw(name) {
    var chart = charts[name], host = chart.host, room = host ? host.clientWidth : 0;
    var key = room + String(dark.matches);
    if (!room || chart.drawn === key || host.closest("details:not([open])")) { return; }
    chart.drawn = key;
    var look = dark.matches ? "dark" : "light";
    var options = { actions: false, renderer: "canvas", config: themes[look], tooltip: { theme: look } };
    var plot = host.querySelector(".plot") || host;
    window.vegaEmbed(plot, fitted(chart.spec, room), options).then(function (result) {
      if (chart.view) { chart.view.finalize(); }
      chart.view = result.view;
      host.setAttribute("data-drawn", look);
      choose();
      if (chart.spec.usermeta && chart.spec.usermeta.cursor) { follow(chart); }
      if (chart.zoom) { show(chart, chart.zoom); }
    }).catch(fallBack);
  }
  function fallBack() { document.documentElement.classList.remove("js"); }
  function drawAll() { Object.keys(charts).forEach(draw); }
  function choose() {
    document.querySelectorAll("select[data-chart]").forEach(function (select) {
      select.dataset.chart.split(" ").forEach(function (name) {
        var chart = charts[name], signal = select.dataset.signal;
        if (chart && chart.view && chart.view.signal(signal) !== Number(select.value)) {
          chart.view.signal(signal, Number(select.value)).runAsync();
        }
      });
    });
  }

  // -- one cursor and one zoom for all panels of a chart over time --
  function domain(chart) { return chart.view.scale(chart.spec.usermeta.cursor.scale).domain(); }
  function full(chart) { return chart.spec.vconcat[0].layer[0].encoding.x.scale.domain; }
  function show(chart, range) {
    var whole = full(chart);
    if (range) {
      var span = Math.min(range[1] - range[0], whole[1] - whole[0]);
      var start = Math.max(whole[0], Math.min(range[0], whole[1] - span));
      range = [start, start + span];
      if (range[0] <= whole[0] && range[1] >= whole[1]) { range = null; }
    }
    chart.zoom = range;
    if (chart.view) { chart.view.signal("zoom_t", range || whole.slice()).runAsync().then(function () { place(chart); }); }
  }
  function zoomBy(chart, factor) {
    var now = domain(chart), middle = chart.time >= now[0] && chart.time <= now[1] ? chart.time : (now[0] + now[1]) / 2;
    show(chart, [middle - (middle - now[0]) * factor, middle + (now[1] - middle) * factor]);
  }
  function panBy(chart, share) {
    var now = domain(chart), by = (now[1] - now[0]) * share;
    show(chart, [now[0] + by, now[1] + by]);
  }
  function leftEdge(chart) {
    var group = chart.view.scenegraph().root.items[0], found = null;
    (function look(item, x) {
      if (found !== null || !item) { return; }
      (item.items || []).forEach(function (mark) {
        if (mark.marktype !== "group") { return; }
        mark.items.forEach(function (inner) {
          if (found === null && mark.name === chart.spec.vconcat[0].name + "_group") { found = x + (inner.x || 0); } else { look(inner, x + (inner.x || 0)); }
        });
      });
    })(group, group.x || 0);
    var canvas = chart.host.querySelector("canvas").getBoundingClientRect();
    return (found || 0) + chart.view.origin()[0] + canvas.left - chart.host.getBoundingClientRect().left;
  }
  function nearest(times, time) {
    var low = 0, high = times.length - 1;
    while (high - low > 1) {
      var middle = (low + high) >> 1;
      if (times[middle] < time) { low = middle; } else { high = middle; }
    }
    return Math.abs(times[low] - time) <= Math.abs(times[high] - time) ? low : high;
  }
  function series(chart) {
    if (chart.series) { return chart.series; }
    chart.series = chart.spec.usermeta.cursor.panels.map(function (panel) {
      var lines = {};
      chart.spec.datasets[panel.curves].concat(chart.spec.datasets[panel.dashed] || []).forEach(function (row) {
        var line = lines[row.s] = lines[row.s] || { name: row.s, device: row.d, t: [], v: [] };
        if (row.v !== null) { line.t.push(row.t); line.v.push(row.v); }
      });
      var band = panel.band ? chart.spec.datasets[panel.band].filter(function (row) { return row.v !== null; }) : [];
      var marks = [].concat.apply([], panel.marks.map(function (name) { return chart.spec.datasets[name]; }));
      return { title: panel.title, unit: panel.unit, lines: Object.keys(lines).map(function (k) { return lines[k]; }), marks: marks,
        band: { name: panel.band_name, rows: band, t: band.map(function (row) { return row.t; }) } };
    });
    var names = {};
    chart.series.forEach(function (panel) { panel.lines.forEach(function (each) { if (each.device) { names[each.device] = 1; } }); });
    chart.devices = Object.keys(names).length;
    return chart.series;
  }
  function line(parent, tag, texts) {
    var node = document.createElement(tag);
    texts.forEach(function (text) { node.appendChild(document.createElement("span")).textContent = text; });
    parent.appendChild(node);
  }
  function written(value) { return Math.abs(value) >= 1e6 || (value && Math.abs(value) < 1e-3) ? value.toExponential(3) : String(Number(value.toPrecision(5))); }
  function unitOf(panel) { return panel.unit && panel.unit.length < 5 ? " " + panel.unit : ""; }
  // A time as a duration, of a long one in two units, and what the clock showed.
  function moment(time, meta) {
    var seconds = time * meta.unit_s, parts = String(Number(time.toPrecision(6))) + " " + meta.unit;
    if (meta.unit_s > 1) {
      var big = meta.unit_s, small = { 60: 1, 3600: 60, 86400: 3600 }[big], name = { 1: "s", 60: "min", 3600: "h" }[small];
      var total = Math.round(seconds / small), whole = Math.floor(total * small / big);
      parts = whole + " " + meta.unit + " " + (total - whole * big / small) + " " + name;
    }
    if (meta.origin_ms) { parts += " · " + new Date(meta.origin_ms + seconds * 1000).toISOString().slice(11, 19) + " UTC"; }
    return parts;
  }
  function tell(chart) {
    var meta = chart.spec.usermeta.cursor, now = domain(chart), time = chart.time, box = chart.box;
    var reach = (now[1] - now[0]) / 50, told = [], rows = 0;
    box.textContent = "";
    box.appendChild(document.createElement("b")).textContent = moment(time, meta);
    series(chart).forEach(function (panel) {
      panel.lines.forEach(function (each) {
        var at = each.t.length ? nearest(each.t, time) : -1;
        if (at < 0 || Math.abs(each.t[at] - time) > reach || rows >= 20) { return; }
        rows += 1;
        var several = chart.devices > 1 || panel.lines.length > 1 || panel.band.t.length > 0;
        var name = several && each.name.toLowerCase() !== panel.title.toLowerCase() ? panel.title + ", " + each.name : panel.title;
        line(box, "div", [name, written(each.v[at]) + unitOf(panel)]);
      });
      var near = panel.band.t.length ? nearest(panel.band.t, time) : -1, row = panel.band.rows[near];
      if (row && Math.abs(row.t - time) <= reach) {
        line(box, "div", [panel.title + ", " + panel.band.name, written(row.v) + " to " + written(row.h) + ", median " + written(row.m) + unitOf(panel)]);
      }
      panel.marks.forEach(function (mark) {
        if (Math.abs(mark.t - time) <= reach / 2 && told.indexOf(mark.what + mark.text) < 0 && told.length < 5) { told.push(mark.what + mark.text); line(box, "p", [mark.what + ": " + mark.text]); }
      });
    });
    (meta.alerts || []).forEach(function (name) {
      chart.spec.datasets[name].forEach(function (alert) {
        if (Math.abs(alert.t - time) <= reach / 2 && told.length < 8 && !told.some(function (text) { return text.indexOf(alert.text) >= 0; })) { told.push(alert.text); line(box, "p", [alert.what + ": " + alert.text]); }
      });
    });
  }
  function place(chart) {
    if (!chart.view || chart.time === null) { return; }
    var now = domain(chart), inside = chart.time >= now[0] && chart.time <= now[1];
    chart.rule.style.display = chart.box.style.display = inside ? "block" : "none";
    if (!inside) { return; }
    var x = leftEdge(chart) + chart.view.scale(chart.spec.usermeta.cursor.scale)(chart.time);
    tell(chart);
    chart.rule.style.left = x + "px";
    var right = x > chart.host.clientWidth / 2;
    chart.box.style.left = right ? "auto" : x + 10 + "px";
    chart.box.style.right = right ? chart.host.clientWidth - x + 10 + "px" : "auto";
  }
  function moveTo(chart, time) {
    var whole = full(chart);
    chart.time = Math.max(whole[0], Math.min(whole[1], time));
    place(chart);
  }
  function hide(chart) { chart.time = null; chart.rule.style.display = chart.box.style.display = "none"; }
  function follow(chart) {
    chart.view.addSignalListener("zoom_t", function (_, range) { chart.zoom = range && range.length ? range : null; place(chart); });
    if (chart.rule) { place(chart); return; }
    chart.time = null;
    chart.rule = chart.host.appendChild(document.createElement("div"));
    chart.rule.className = "cursor";
    chart.box = chart.host.appendChild(document.createElement("div"));
    chart.box.className = "readout";
    chart.box.setAttribute("role", "status");
    chart.host.addEventListener("pointermove", function (event) {
      var x = event.clientX - chart.host.getBoundingClientRect().left - leftEdge(chart);
      if (x < 0 || x > chart.view.scale(chart.spec.usermeta.cursor.scale).range()[1]) { hide(chart); return; }
      moveTo(chart, chart.view.scale(chart.spec.usermeta.cursor.scale).invert(x));
    });
    chart.host.addEventListener("pointerleave", function () { hide(chart); });
    chart.host.addEventListener("keydown", function (event) {
      var now = domain(chart), share = (now[1] - now[0]) / 100, at = chart.time === null ? (now[0] + now[1]) / 2 : chart.time;
      var side = event.key === "ArrowLeft" ? -1 : event.key === "ArrowRight" ? 1 : 0;
      if (side && event.shiftKey) { panBy(chart, side / 4); } else if (side) { moveTo(chart, Math.max(now[0], Math.min(now[1], at + side * share))); }
      else if (event.key === "+" || event.key === "=") { zoomBy(chart, 0.5); }
      else if (event.key === "-") { zoomBy(chart, 2); }
      else if (event.key === "0" || event.key === "Escape") { show(chart, null); hide(chart); }
      else { return; }
      event.preventDefault();
    });
    chart.host.addEventListener("dblclick", function () { show(chart, null); });
  }
  function act(event) {
    var target = event.target.closest("[data-time], [data-zoom]");
    var chart = target && charts[target.dataset.chart || "timeline"];
    if (!chart || !chart.view) { return; }
    if (target.dataset.zoom) {
      if (target.dataset.zoom === "all") { show(chart, null); } else { zoomBy(chart, Number(target.dataset.zoom)); }
      return;
    }
    event.preventDefault();
    var time = Number(target.dataset.time) / chart.spec.usermeta.cursor.unit_s, whole = full(chart);
    var reach = Math.max((whole[1] - whole[0]) / 40, 10 / chart.spec.usermeta.cursor.unit_s);
    show(chart, [time - reach, time + reach]);
    moveTo(chart, time);
    chart.host.scrollIntoView({ block: "start" });
    chart.host.focus({ preventScroll: true });
  }

  // -- paper has no clicks: what is folded is printed open, and folded again --
  function unfold(open) {
    document.querySelectorAll("details").forEach(function (each) {
      if (open && !each.open) { each.open = true; each.dataset.folded = "1"; }
      if (!open && each.dataset.folded) { each.open = false; delete each.dataset.folded; }
    });
  }

  try {
    read();
    drawAll();
    dark.addEventListener("change", drawAll);
    window.addEventListener("resize", function () { clearTimeout(timer); timer = setTimeout(drawAll, 150); });
    document.addEventListener("toggle", drawAll, true);
    document.addEventListener("click", act);
    window.addEventListener("beforeprint", function () { unfold(true); });
    window.addEventListener("afterprint", function () { unfold(false); });
    document.addEventListener("change", function (event) { if (event.target.matches("select[data-chart]")) { choose(); } });
  } catch (error) {
    fallBack();
  }
})();
