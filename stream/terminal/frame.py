"""Draws the watch view as lines of text, for any width and height."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise
from math import isfinite

from rich.cells import cell_len, set_cell_size
from rich.text import Text
from thermograd.store.text import printable
from thermograd.stream.alerts.alert import Alert
from thermograd.stream.terminal.state import RunFacts, WatchState

_BLOCKS = "▁▂▃▄▅▆▇█"
_PLAIN = str.maketrans(
    {"–": "-", "°": " ", "…": "~", "·": "|", "×": "!"} | dict(zip(_BLOCKS, ".:-=+*#@", strict=True))
)
_STATES = {
    "unknown": ("–", "dim"),
    "normal": ("ok", "green"),
    "power_limited": ("power", "cyan"),
    "throttle.warn": ("warn", "yellow"),
    "collapse.thermal": ("HEAT", "bold red"),
    "collapse.brake": ("BRAKE", "bold red"),
}
_SEVERITIES = {"critical": "bold red", "warning": "yellow", "info": "cyan"}
_RUN_STATES = {"live": "bold green", "crashed": "bold red", "silent": "bold yellow"}
# heading, column, digits after the point, width, least width of the screen that has it
_COLUMNS = (
    ("°C", "temperature_c", 0, 3, 0),
    ("W", "power_w", 0, 4, 0),
    ("MHz", "sm_clock_mhz", 0, 4, 52),
    ("%", "utilization_pct", 0, 3, 44),
)
_CORRELATIONS = (("r °C", "temperature_c"), ("r W", "power_w"), ("r MHz", "sm_clock_mhz"))
_WITH_CORRELATIONS = 72
_NAME = 19
_MOST_DEVICES = 16
_LEGEND = "r: with grad_norm · e-value: evidence of coupling, 1 none, 20 strong"


def frame_lines(
    board: WatchState,
    run: RunFacts,
    now_ns: int,
    width: int,
    height: int | None = None,
    ascii_only: bool = False,
) -> list[Text]:
    """Return the view as lines, each at most `width` cells wide.

    Parameters
    ----------
    board, run
        What is shown.
    now_ns
        Present time, UTC epoch ns, for ages.
    width, height
        Of the screen, in cells; without a height all alerts are shown.
    ascii_only
        Whether only ASCII can be shown.
    """
    width = max(width, 30)
    top = [*_header(board, run, now_ns, width), Text(""), *_training(board, width), Text("")]
    room = _MOST_DEVICES if height is None else max(height - len(top) - 6, 1)  # alerts keep four lines
    lines = top + _devices(board, width, room)
    left = None if height is None else height - len(lines) - 2
    lines += [Text(""), *_alerts(board, width, left)]
    legend = _LEGEND if width >= _WITH_CORRELATIONS and board.samples else ""
    if height is None:
        lines += [Text(""), Text(legend, style="dim")] if legend else []
    else:
        lines = lines[: height - 1] + [Text("")] * (height - 1 - len(lines))
        lines.append(Text(f"q quits{' · ' if legend else ''}{legend}", style="dim"))
    for line in lines:
        line.truncate(width)
    return [Text(_to_plain(line.plain), style="") for line in lines] if ascii_only else lines


def _to_plain(text: str) -> str:
    return text.translate(_PLAIN).encode("ascii", "replace").decode()


def _header(board: WatchState, run: RunFacts, now_ns: int, width: int) -> list[Text]:
    state = f"silent on {', '.join(map(printable, run.hosts))}" if run.state == "silent" else run.state
    facts = [state]
    if board.step is not None and board.step.get("step") is not None:
        facts.append(f"step {int(board.step['step']):,}")
    if board.newest_ns is not None:
        facts.append(f"last event {_age((now_ns - board.newest_ns) / 1e9)} ago")
    tail = " · ".join(facts)
    if width < cell_len(tail) + 12:
        name, lines = _shorten(printable(run.name), width), [Text(fact) for fact in facts]
        lines[0].stylize(_RUN_STATES.get(run.state, ""))
        return [Text(name, style="bold"), *lines]
    name = _shorten(printable(run.name), max(8, width - cell_len(tail) - 3))
    first = Text.assemble((name, "bold"), " · ", (tail, _RUN_STATES.get(run.state, "")))
    second = [printable(run.run_id)] if run.run_id != run.name else []
    if len(board.ranks) > 1:
        second.append(f"rank 0 of {len(board.ranks)}")
    if board.first_step is not None:
        second.append(f"seen from step {board.first_step:,} on")
    return [first, Text(" · ".join(second), style="dim")]


def _training(board: WatchState, width: int) -> list[Text]:
    lines = []
    for metric, history in board.history.items():
        last = None if board.step is None else board.step.get(metric)
        head = f"{metric:<9} {_number(last):>9}"
        scale = _scale(history) if width >= 60 else ""
        room = width - len(head) - 2 - (len(scale) + 2 if scale else 0)
        lines.append(
            Text.assemble(
                head, "  ", (sparkline(history, room), "cyan"), "  " if scale else "", (scale, "dim")
            )
        )
    step = board.step or {}
    rest = [f"rate {_number(step.get('learning_rate'))}", f"step time {_number(step.get('step_time_s'))} s"]
    rest += [f"epoch {_number(step.get('epoch'))}"] if width >= 60 else []
    lines.append(Text(" · ".join(rest), style="dim"))
    return lines


def _scale(history: Iterable[float]) -> str:
    finite = [x for x in history if isfinite(x)]
    return f"{_number(min(finite))} to {_number(max(finite))}" if finite else ""


def sparkline(values: Iterable[float], width: int) -> str:
    """Return values as one line of blocks from the least to the largest; NaN and infinities are crosses.

    More values than fit are drawn by the largest of each group, so that no spike is lost. A few values
    far above all others are cut off at the top.

    Examples
    --------
    >>> sparkline([1.0, 2.0, float("nan"), 8.0], 10)
    '▁▂×█'
    """
    shown = list(values)
    if not shown or width < 1:
        return ""
    if len(shown) > width:
        ends = [round(i * len(shown) / width) for i in range(width + 1)]
        shown = [_largest(shown[a:b]) for a, b in pairwise(ends)]
    finite = sorted(x for x in shown if isfinite(x))
    if not finite:
        return "×" * len(shown)
    low, high = finite[0], finite[-1]
    usual = finite[(len(finite) - 1) * 19 // 20]
    if len(finite) >= 20 and high - low > 4 * (usual - low) > 0:  # a few spikes must not flatten all the rest
        high = low + 2 * (usual - low)
    span = high - low
    span = span if isfinite(span) else 0.0
    return "".join(_block((x - low) / span if span > 0 else 0.0) if isfinite(x) else "×" for x in shown)


def _largest(values: Sequence[float]) -> float:
    odd = [x for x in values if not isfinite(x)]
    return odd[0] if odd else max(values)


def _block(share: float) -> str:
    return _BLOCKS[min(int(share * len(_BLOCKS)), len(_BLOCKS) - 1)]


def _devices(board: WatchState, width: int, room: int) -> list[Text]:
    if not board.samples:
        return [Text("no device samples yet", style="dim")]
    columns = [column for column in _COLUMNS if width >= column[4]]
    wide = width >= _WITH_CORRELATIONS
    used = sum(column[3] + 2 for column in columns) + 7 + (len(_CORRELATIONS) * 7 + 9 if wide else 0)
    name_width = max(8, min(width - used, 40))
    lines = [_device_heading(columns, wide, name_width)]
    ordered = sorted(board.samples, key=lambda device: (device == "cpu", device))
    most = len(ordered) if len(ordered) <= room - 1 else max(room - 2, 1)
    for device in ordered[:most]:
        lines.append(_device_line(board, device, columns, wide, name_width))
    if most < len(ordered):
        left = len(ordered) - most
        lines.append(Text(f"and {left} more device{'s' * (left > 1)}", style="dim"))
    return lines


def _device_heading(columns: Sequence[tuple[str, str, int, int, int]], wide: bool, name_width: int) -> Text:
    text = "device".ljust(name_width) + "".join(f"  {c[0]:>{c[3]}}" for c in columns) + "  state"
    if wide:
        text += "".join(f"  {name:>5}" for name, _ in _CORRELATIONS) + f"  {'e-value':>7}"
    return Text(text, style="dim")


def _device_line(
    board: WatchState,
    device: str,
    columns: Sequence[tuple[str, str, int, int, int]],
    wide: bool,
    name_width: int,
) -> Text:
    sample = board.samples[device]
    name = printable(device)
    if board.is_simulated(device) and not name.startswith("simulated:"):
        name = f"(simulated) {name}"
    line = Text(set_cell_size(_shorten(name, name_width), name_width))
    for _, column, digits, cells, _ in columns:
        line.append(f"  {_fixed(sample.get(column), digits):>{cells}}")
    word, style = _STATES[board.throttle_state(device)]
    line.append(f"  {word:<5}", style)
    if wide:
        for _, column in _CORRELATIONS:
            line.append(f"  {_fixed(board.correlation(device, column), 2, sign=True):>5}")
        line.append(f"  {_number(board.evidence(device), 3):>7}")
    return line


def _alerts(board: WatchState, width: int, room: int | None) -> list[Text]:
    alerts, recorded = board.alerts()
    if not alerts:
        return [Text("no alerts", style="dim")]
    title = "alerts, newest first" if recorded else "alerts, found now: the log holds none"
    lines = [Text(title, style="dim")]
    for alert in alerts:
        entry = _alert_lines(alert, width)
        if room is not None and len(lines) + len(entry) > room:
            entry = entry[: max(0, room - len(lines))]
            lines += entry
            break
        lines += entry
    return lines


def _alert_lines(alert: Alert, width: int) -> list[Text]:
    moment = datetime.fromtimestamp(int(alert["time_ns"]) / 1e9).astimezone()
    severity = printable(alert["severity"])
    head = f"{moment:%H:%M:%S} {printable(alert['alert'])} "
    whole = Text.assemble((head, _SEVERITIES.get(severity, "")), printable(alert["message"]))
    words, lines = whole.plain.split(" "), [""]
    for word in words:
        if lines[-1] and cell_len(lines[-1]) + 1 + cell_len(word) > width:
            lines.append("  ")
        lines[-1] += word if not lines[-1].strip() else f" {word}"
    shown = [Text(line) for line in lines]
    shown[0].stylize(_SEVERITIES.get(severity, ""), 0, len(head))
    return shown


def _shorten(name: str, width: int) -> str:
    """Return a name with its middle left out where it is too long: both ends tell devices apart."""
    if cell_len(name) <= width:
        return name
    keep = (width - 1) // 2
    return f"{name[: width - 1 - keep]}…{name[len(name) - keep :]}"


def _fixed(value: object, digits: int, sign: bool = False) -> str:
    if not isinstance(value, int | float):
        return "–"
    if not isfinite(value):
        return str(float(value))
    value = round(value, digits) + 0.0  # no minus before a zero
    return f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"


def _number(value: object, digits: int = 4) -> str:
    return f"{value:.{digits}g}" if isinstance(value, int | float) else "–"


def _age(seconds: float) -> str:
    seconds = max(seconds, 0.0)
    for unit, size, limit in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800)):
        if seconds < limit:
            return f"{seconds / size:.{1 if size == 1 and seconds < 10 else 0}f} {unit}"
    return f"{seconds / 86_400:.0f} days"
