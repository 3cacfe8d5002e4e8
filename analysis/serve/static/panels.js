// Draws the panels of a run on canvases that share one axis of time: as the report's charts look, and fast
// enough for curves that grow four times a second. Knows nothing of where the data come from.
const LEFT = 62, RIGHT = 12, HEIGHT = 118, TOP = 8, AXIS = 34, LANE = 26, STRIP = 7;
const KINDS = ["spike", "nonfinite", "zero", "injection", "collapse", "reported_collapse"];
const RULED = new Set(["injection", "collapse"]);
const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
const CLOCKS = [[300, "s", 1], [10800, "min", 60], [345600, "h", 3600], [Infinity, "d", 86400]];

export const MARGIN = { left: LEFT, right: RIGHT };

/** Return the unit in which so long a time is no large number. */
export function clockFor(spanS) {
  const [, symbol, seconds] = CLOCKS.find(([most]) => spanS <= most);
  return { symbol, seconds };
}

/** Return a value in few letters: large ones with k, M or G. */
export function shortNumber(value) {
  const size = Math.abs(value);
  for (const [least, letter] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [2e4, "k"]]) {
    if (size >= least) return `${Number((value / (letter === "k" ? 1e3 : least)).toPrecision(3))}${letter}`;
  }
  return value && size < 1e-3 ? value.toExponential(0) : String(Number(value.toPrecision(4)));
}

function niceTicks(low, high, count) {
  const raw = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((each) => each * power >= raw) * power, ticks = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-6 && ticks.length < 20; at += step) ticks.push(Number(at.toPrecision(12)));
  return ticks;
}

function logTicks(low, high) {
  const first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high)), ticks = [];
  const each = high < 300 * low ? [1, 2, 5] : [1], skip = 1 + Math.floor((last - first) / 6);
  for (let power = first; power <= last; power += each.length > 1 ? 1 : skip) for (const times of each) ticks.push(times * 10 ** power);
  return ticks.filter((value) => value >= low && value <= high);
}

/** Keep the lowest and the highest of each stretch of time: at most `2 * buckets` points of a curve. */
export function thinned(times, values, buckets) {
  const count = times.length;
  if (count <= 2 * buckets) return [times, values];
  const from = times[0], width = (times[count - 1] - from) / buckets || 1, t = [], v = [];
  let at = 0;
  while (at < count) {
    const until = from + (Math.floor((times[at] - from) / width) + 1) * width;
    let low = -1, high = -1, gap = -1;
    do {
      const value = values[at];
      if (value === null) { if (gap < 0) gap = at; }
      else {
        if (low < 0 || value < values[low]) low = at;
        if (high < 0 || value > values[high]) high = at;
      }
      at += 1;
    } while (at < count && times[at] < until);
    for (const place of [...new Set([low, high, gap])].filter((each) => each >= 0).sort((a, b) => a - b)) { t.push(times[place]); v.push(values[place]); }
  }
  return [t, v];
}

function limits(panel, range) {
  let low = Infinity, high = -Infinity;
  const take = (times, values) => {
    for (let i = 0; i < times.length; i += 1) {
      const value = values[i];
      if (value === null || times[i] < range[0] || times[i] > range[1] || (panel.log && value <= 0)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  };
  panel.lines.forEach((line) => take(line.t, line.v));
  if (panel.band) { take(panel.band.t, panel.band.low); take(panel.band.t, panel.band.high); }
  panel.marks.forEach((mark) => { if (mark.v !== null) take([mark.t], [mark.v]); });
  if (low > high) return panel.log ? [1, 10] : [0, 1];
  if (low === high) return panel.log ? [low / 2, high * 2] : [low - (Math.abs(low) || 1) * 0.05, high + (Math.abs(high) || 1) * 0.05];
  return [low, high];
}

/** One panel, or the lanes of alerts, on a canvas of its own. */
class Sheet {
  constructor(host, name) {
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", name);
    host.append(this.canvas);
    this.brush = this.canvas.getContext("2d");
  }

  begin(width, height) {
    const ratio = window.devicePixelRatio || 1;
    const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== wide || this.canvas.height !== high) {
      this.canvas.width = wide;
      this.canvas.height = high;
      this.canvas.style.width = `${width}px`;
      this.canvas.style.height = `${height}px`;
    }
    this.brush.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.brush.clearRect(0, 0, width, height);
    return this.brush;
  }
}

/** The panels of one run below each other, with one range of time. */
export class PanelStack {
  constructor(host, themes) {
    this.host = host;
    this.themes = themes;
    this.panels = [];
    this.alerts = [];
    this.range = [0, 1];
    this.sheets = new Map();
    this.dark = window.matchMedia("(prefers-color-scheme: dark)");
  }

  /** Take panels and the lanes of alerts below them; canvases of panels that are gone go too. */
  show(panels, alerts) {
    this.panels = panels;
    this.alerts = alerts;
    const wanted = [...panels.map((panel) => panel.key), ...(alerts.length ? ["alerts"] : [])];
    if (wanted.join() !== [...this.sheets.keys()].join()) {
      this.sheets.forEach((sheet) => sheet.canvas.remove());
      this.sheets = new Map(wanted.map((key, place) => [key, new Sheet(this.host, panels[place]?.title ?? "Alerts")]));
    }
  }

  get plotWidth() { return Math.max(40, this.host.clientWidth - LEFT - RIGHT); }
  x(time) { return LEFT + (time - this.range[0]) / (this.range[1] - this.range[0]) * this.plotWidth; }
  time(x) { return this.range[0] + (x - LEFT) / this.plotWidth * (this.range[1] - this.range[0]); }

  get theme() { return this.themes[this.dark.matches ? "dark" : "light"]; }
  colour(style) { return this.theme.style[style]?.color ?? this.theme.axis.labelColor; }
  deviceColour(place) { return this.theme.range.category[place % this.theme.range.category.length]; }

  draw() {
    const width = this.host.clientWidth;
    if (!width) return;
    this.panels.forEach((panel, place) => {
      const lowest = place === this.panels.length - 1 && !this.alerts.length;
      const brush = this.sheets.get(panel.key).begin(width, HEIGHT + TOP + (lowest ? AXIS : 4));
      this.drawPanel(brush, panel, lowest);
    });
    if (this.alerts.length) this.drawAlerts(width);
  }

  drawPanel(brush, panel, lowest) {
    const strips = STRIP * panel.strips.length, pad = 8 + strips;
    const [low, high] = limits(panel, this.range);
    const scale = panel.log ? Math.log10 : (value) => value;
    const [first, last] = [scale(low), scale(high)];
    const y = (value) => TOP + pad + (last - scale(value)) / (last - first || 1) * (HEIGHT - pad - 8);
    this.drawAxes(brush, panel, panel.log ? logTicks(low, high) : niceTicks(low, high, 4), y, lowest);
    brush.save();
    brush.beginPath();
    brush.rect(LEFT, TOP, this.plotWidth, HEIGHT);
    brush.clip();
    if (panel.band) this.drawBand(brush, panel.band, y);
    panel.lines.forEach((line) => this.drawLine(brush, panel, line, y));
    panel.strips.forEach((strip, place) => this.drawStrip(brush, strip, TOP + 1 + place * STRIP));
    KINDS.forEach((kind) => this.drawMarks(brush, panel.marks.filter((mark) => mark.kind === kind), kind, y));
    brush.restore();
  }

  drawAxes(brush, panel, ticks, y, lowest) {
    const axis = this.theme.axis;
    brush.font = `11px ${FONT}`;
    brush.textBaseline = "middle";
    brush.textAlign = "right";
    brush.lineWidth = 1;
    for (const tick of ticks) {
      const at = Math.round(y(tick)) + 0.5;
      brush.strokeStyle = axis.gridColor;
      brush.beginPath();
      brush.moveTo(LEFT, at);
      brush.lineTo(LEFT + this.plotWidth, at);
      brush.stroke();
      brush.fillStyle = axis.labelColor;
      brush.fillText(shortNumber(tick), LEFT - 6, at);
    }
    brush.strokeStyle = axis.domainColor;
    brush.beginPath();
    brush.moveTo(LEFT + 0.5, TOP);
    brush.lineTo(LEFT + 0.5, TOP + HEIGHT + 0.5);
    brush.lineTo(LEFT + this.plotWidth, TOP + HEIGHT + 0.5);
    brush.stroke();
    this.drawTitle(brush, panel.unit ? `${panel.title} (${panel.unit})` : panel.title, HEIGHT);
    if (lowest) this.drawTime(brush, TOP + HEIGHT);
  }

  drawTitle(brush, title, height) {
    brush.save();
    brush.translate(9, TOP + height / 2);
    brush.rotate(-Math.PI / 2);
    brush.font = `12px ${FONT}`;
    brush.textAlign = "center";
    brush.fillStyle = this.theme.axis.titleColor;
    brush.fillText(title.length > 24 ? `${title.slice(0, 14)}…${title.slice(-8)}` : title, 0, 0, height);
    brush.restore();
  }

  drawTime(brush, top) {
    const clock = clockFor(this.range[1] - this.range[0] < 300 && this.range[1] < 3600 ? this.range[1] - this.range[0] : this.range[1]);
    brush.textAlign = "center";
    brush.textBaseline = "top";
    brush.font = `11px ${FONT}`;
    brush.fillStyle = this.theme.axis.labelColor;
    for (const tick of niceTicks(this.range[0] / clock.seconds, this.range[1] / clock.seconds, Math.min(8, this.plotWidth / 70))) {
      const x = this.x(tick * clock.seconds);
      brush.fillRect(x, top, 1, 4);
      brush.fillText(String(tick), x, top + 6);
    }
    brush.fillStyle = this.theme.axis.titleColor;
    brush.fillText(`${clock.symbol} since the run's first event`, LEFT + this.plotWidth / 2, top + 20);
  }

  drawLine(brush, panel, line, y) {
    const colour = line.dashed && line.device === null ? this.colour("bound") : line.device === null ? this.colour("training") : this.deviceColour(line.device);
    brush.strokeStyle = brush.fillStyle = colour;
    brush.lineWidth = line.dashed ? 1.2 : 1.3;
    brush.setLineDash(line.dashed ? [5, 3] : []);
    brush.beginPath();
    const { t, v } = line, scale = this.plotWidth / (this.range[1] - this.range[0]), alone = [];
    let drawing = false;
    for (let i = 0; i < t.length; i += 1) {
      if (v[i] === null || (panel.log && v[i] <= 0)) { drawing = false; continue; }
      if (t[i + 1] < this.range[0]) continue;
      const at = LEFT + (t[i] - this.range[0]) * scale, high = y(v[i]);
      if (drawing) brush.lineTo(at, high);
      else {
        brush.moveTo(at, high);
        if (i + 1 >= t.length || v[i + 1] === null) alone.push([at, high]);
      }
      drawing = true;
      if (t[i] > this.range[1]) break;
    }
    brush.stroke();
    brush.setLineDash([]);
    for (const [at, high] of alone) { brush.beginPath(); brush.arc(at, high, 2.3, 0, 7); brush.fill(); }
  }

  drawBand(brush, band, y) {
    const parts = [];
    let part = [];
    band.t.forEach((_, i) => {
      if (band.low[i] === null) { if (part.length) parts.push(part); part = []; } else part.push(i);
    });
    parts.push(part);
    brush.fillStyle = this.colour("many");
    brush.strokeStyle = this.colour("many-middle");
    brush.lineWidth = 1;
    for (const places of parts.filter((each) => each.length)) {
      brush.beginPath();
      places.forEach((i) => brush.lineTo(this.x(band.t[i]), y(band.high[i])));
      [...places].reverse().forEach((i) => brush.lineTo(this.x(band.t[i]), y(band.low[i])));
      brush.fill();
      brush.beginPath();
      places.forEach((i) => { if (band.middle[i] !== null) brush.lineTo(this.x(band.t[i]), y(band.middle[i])); });
      brush.stroke();
    }
  }

  drawStrip(brush, strip, top) {
    brush.fillStyle = this.colour(strip.kind);
    strip.t.forEach((start, i) => {
      brush.globalAlpha = strip.shade[i];
      brush.fillRect(this.x(start), top, Math.max(1, this.x(start + strip.width) - this.x(start)), STRIP - 1);
    });
    brush.globalAlpha = 1;
  }

  drawMarks(brush, marks, kind, y) {
    brush.strokeStyle = brush.fillStyle = this.colour(kind);
    for (const mark of marks) {
      const x = this.x(mark.t), edge = kind === "zero" ? TOP + HEIGHT - 5 : TOP + 5;
      if (RULED.has(kind)) {
        brush.globalAlpha = 0.75;
        brush.lineWidth = 1;
        brush.setLineDash(kind === "injection" ? [4, 3] : []);
        brush.beginPath();
        brush.moveTo(x, TOP);
        brush.lineTo(x, TOP + HEIGHT);
        brush.stroke();
        brush.setLineDash([]);
        brush.globalAlpha = 1;
      }
      symbol(brush, kind, x, mark.v === null ? edge : y(mark.v));
    }
  }

  drawAlerts(width) {
    const lanes = [...new Set(this.alerts.map((alert) => alert.name))], height = LANE * lanes.length;
    const brush = this.sheets.get("alerts").begin(width, height + TOP + AXIS);
    brush.font = `10px ${FONT}`;
    brush.textBaseline = "top";
    lanes.forEach((name, place) => {
      brush.textAlign = "left";
      brush.fillStyle = this.theme.axis.labelColor;
      brush.fillText(name, LEFT + 3, TOP + place * LANE + 1);
    });
    for (const alert of this.alerts) {
      const top = TOP + lanes.indexOf(alert.name) * LANE, x = this.x(alert.time_s);
      if (x < LEFT - 2 || x > LEFT + this.plotWidth + 2) continue;
      brush.fillStyle = this.colour(`severity-${alert.severity}`);
      brush.globalAlpha = alert.share === null || !alert.width_s ? 1 : 0.25 + 0.75 * alert.share;
      const wide = alert.width_s ? Math.max(1, this.x(alert.time_s + alert.width_s) - x) : 2;
      brush.fillRect(x, top + 12, wide, LANE - 14);
      brush.globalAlpha = 1;
    }
    brush.strokeStyle = this.theme.axis.domainColor;
    brush.beginPath();
    brush.moveTo(LEFT + 0.5, TOP);
    brush.lineTo(LEFT + 0.5, TOP + height + 0.5);
    brush.lineTo(LEFT + this.plotWidth, TOP + height + 0.5);
    brush.stroke();
    this.drawTitle(brush, "Alerts", height);
    this.drawTime(brush, TOP + height);
  }
}

function symbol(brush, kind, x, y) {
  brush.lineWidth = 1.8;
  brush.beginPath();
  if (kind === "spike") brush.arc(x, y, 5, 0, 7);
  else if (kind === "nonfinite" || kind === "zero") { brush.moveTo(x - 3, y - 3); brush.lineTo(x + 3, y + 3); brush.moveTo(x + 3, y - 3); brush.lineTo(x - 3, y + 3); }
  else if (kind === "collapse") { brush.moveTo(x, y - 4.5); brush.lineTo(x + 3.5, y); brush.lineTo(x, y + 4.5); brush.lineTo(x - 3.5, y); brush.closePath(); }
  else { brush.moveTo(x - 4, y - 3); brush.lineTo(x + 4, y - 3); brush.lineTo(x, y + 4); brush.closePath(); }
  if (["spike", "nonfinite", "zero"].includes(kind)) brush.stroke(); else brush.fill();
}
