"""Draws the watch view as lines of text, for any width and height."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from io import StringIO
from itertools import pairwise
from math import isfinite

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text
from thermograd.store.experiment.e_process import REJECT_AT
from thermograd.store.telling.columns import signal
from thermograd.store.telling.episodes import Episode, how_often
from thermograd.store.telling.quantities import age_text, plural
from thermograd.store.text import printable
from thermograd.stream.alerts.alert import as_float
from thermograd.stream.terminal.state import RunFacts, WatchState
from thermograd.stream.terminal.table import rendered

_BLOCKS = "▁▂▃▄▅▆▇█"
_PLAIN = str.maketrans(
    {"–": "-", "°": " ", "…": "~", "·": "|", "×": "!"} | dict(zip(_BLOCKS, ".:-=+*#@", strict=True))
)
_CONDITIONS = {
    "unknown": ("–", "dim"),
    "normal": ("ok", "green"),
    "power_limited": ("power", "cyan"),
    "throttle.warn": ("warn", "yellow"),
    "collapse.thermal": ("HEAT", "bold red"),
    "collapse.brake": ("BRAKE", "bold red"),
    "silent": ("SILENT", "bold red"),
}
_SEVERITY_STYLES = {"critical": "bold red", "warning": "yellow", "info": "cyan"}
_RUN_STYLES = {"live": "bold green", "silent": "bold yellow", "interrupted": "bold yellow"}
_RUN_STYLES |= {"failed": "bold red", "crashed": "bold red"}
# column, width, least width of the screen that has it
_COLUMNS = (("temperature_c", 3, 0), ("power_w", 4, 0), ("sm_clock_mhz", 4, 52), ("utilization_pct", 3, 44))
_CORRELATED = ("temperature_c", "power_w", "sm_clock_mhz")
_WITH_CORRELATIONS = 72
_LONGEST_NAME = 40
_MOST_DEVICES = 16
_LEGEND = "r: with grad_norm · e-value: evidence of coupling, 1 none, 20 strong"
_LEGEND_WITHHELD = "r: with grad_norm · e-value: 1 none, 20 strong, ~ less what rhythm or averaging makes"


def frame_lines(
    state: WatchState,
    run: RunFacts,
    now_ns: int,
    width: int,
    height: int | None = None,
    ascii_only: bool = False,
) -> list[Text]:
    """Return the view as lines, each at most `width` cells wide; without a height all alerts are shown.

    `now_ns` is the present time, UTC epoch ns, for ages; `width` and `height` are the screen's, in cells.
    """
    width = max(width, 30)
    top = [*_header(state, run, now_ns, width), Text(""), *_training(state, width), Text("")]
    room = _MOST_DEVICES if height is None else max(height - len(top) - 6, 1)  # alerts keep four lines
    lines = top + _devices(state, width, room)
    left = None if height is None else height - len(lines) - 2
    lines += [Text(""), *_alerts(state, width, left)]
    said = _LEGEND_WITHHELD if state.withholding else _LEGEND
    legend = said if width >= _WITH_CORRELATIONS and state.samples else ""
    if height is None:
        lines += [Text(""), Text(legend, style="dim")] if legend else []
    else:
        lines = lines[: height - 1] + [Text("")] * (height - 1 - len(lines))
        lines.append(Text(f"q quits{' · ' if legend else ''}{legend}", style="dim"))
    for line in lines:
        line.rstrip()
        line.truncate(width)
    return in_ascii(lines) if ascii_only else lines


def in_ascii(lines: Iterable[Text]) -> list[Text]:
    """Return lines for a terminal that has nothing but ASCII."""
    return [Text(line.plain.translate(_PLAIN).encode("ascii", "replace").decode()) for line in lines]


def _header(state: WatchState, run: RunFacts, now_ns: int, width: int) -> list[Text]:
    facts = [f"silent on {', '.join(map(printable, run.hosts))}" if run.state == "silent" else run.state]
    if state.step is not None and state.step.get("step") is not None:
        facts.append(f"step {int(state.step['step']):,}")
    if state.newest_ns is not None:
        facts.append(f"last event {age_text((now_ns - state.newest_ns) / 1e9)} ago")
    tail = " · ".join(facts)
    why = [Text(printable(run.reason), style=_RUN_STYLES.get(run.state, ""))] if run.reason else []
    if width < cell_len(tail) + 12:
        name, lines = _shorten(printable(run.name), width), [Text(fact) for fact in facts]
        lines[0].stylize(_RUN_STYLES.get(run.state, ""))
        return [Text(name, style="bold"), *lines[:1], *why, *lines[1:]]
    name = _shorten(printable(run.name), max(8, width - cell_len(tail) - 3))
    first = Text.assemble((name, "bold"), " · ", (tail, _RUN_STYLES.get(run.state, "")))
    second = [printable(run.run_id)] if run.run_id != run.name else []
    if len(state.ranks) > 1:
        second.append(f"rank 0 of {len(state.ranks)}")
    if state.first_step is not None:
        second.append(f"seen from step {state.first_step:,} on")
    return [first, Text(" · ".join(second), style="dim"), *why]


def _training(state: WatchState, width: int) -> list[Text]:
    lines = []
    for metric, history in state.history.items():
        last = None if state.step is None else state.step.get(metric)
        head = f"{metric:<9} {_number(last):>9}"
        scale = _scale(history) if width >= 60 else ""
        room = width - len(head) - 2 - (len(scale) + 2 if scale else 0)
        curve = (sparkline(history, room), "cyan")
        lines.append(Text.assemble(head, "  ", curve, "  " if scale else "", (scale, "dim")))
    step = state.step or {}
    rest = [f"rate {_number(step.get('learning_rate'))}", f"step time {_number(step.get('step_time_s'))} s"]
    rest += [f"epoch {_number(step.get('epoch'))}"] if width >= 60 else []
    lines.append(Text(" · ".join(rest), style="dim"))
    for arm, e_value, pairs in state.experiments():
        told = f"experiment {arm} · {pairs} {plural(pairs, 'pair')} · e-value {e_value:.3g}"
        shown = "bold cyan" if e_value >= REJECT_AT else "dim"
        lines.append(Text(told + ", 20 shows an effect" * (width >= 60), style=shown))
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
    span = high - low if isfinite(high - low) else 0.0
    return "".join(_block((x - low) / span if span > 0 else 0.0) if isfinite(x) else "×" for x in shown)


def _block(share: float) -> str:
    return _BLOCKS[min(int(share * len(_BLOCKS)), len(_BLOCKS) - 1)]


def _largest(values: Sequence[float]) -> float:
    odd = [x for x in values if not isfinite(x)]
    return odd[0] if odd else max(values)


def _devices(state: WatchState, width: int, room: int) -> list[Text]:
    if not state.samples:
        return [Text("no device samples yet", style="dim")]
    labels = state.labels()
    most = len(labels) if len(labels) <= room - 1 else max(room - 2, 1)
    shown = set(sorted(labels, key=lambda device: _urgency(state, device), reverse=True)[:most])
    chosen = {device: label for device, label in labels.items() if device in shown}
    lines = rendered(_device_table(state, chosen, width), width)
    left = [device for device in labels if device not in shown]
    return [*lines, _left_out(state, left)] if left else lines


def _urgency(state: WatchState, device: str) -> tuple[int, float]:
    """Return what goes first where not all have room: what is slowed most, then the hottest."""
    temperature = as_float(state.samples[device].get("temperature_c"))
    slowed = list(_CONDITIONS).index(state.device_state(device))
    return slowed, temperature if temperature is not None and isfinite(temperature) else -1.0


def _left_out(state: WatchState, devices: Sequence[str]) -> Text:
    """Return how many devices have no room, and in what states they are."""
    counts = Counter(_CONDITIONS[state.device_state(device)][0] for device in devices)
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    return Text(f"and {len(devices)} more {plural(len(devices), 'device')}: {told}", style="dim")


def _device_table(state: WatchState, labels: Mapping[str, str], width: int) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("device")
    columns = [column for column in _COLUMNS if width >= column[2]]
    for name, cells, _ in columns:
        table.add_column(signal(name).symbol, justify="right", min_width=cells, no_wrap=True)
    table.add_column("state", min_width=5, no_wrap=True)
    wide = width >= _WITH_CORRELATIONS
    if wide:
        for name in _CORRELATED:
            table.add_column(f"r {signal(name).symbol}", justify="right", min_width=5, no_wrap=True)
        table.add_column("e-value", justify="right", no_wrap=True)
    for device, label in labels.items():
        sample = {} if device in state.silent else state.samples[device]
        row: list[str | Text] = [_fixed(sample.get(name), 0) for name, _, _ in columns]
        row.append(Text(*_CONDITIONS[state.device_state(device)]))
        if wide:
            row += [_fixed(state.correlation(device, name), 2, sign=True) for name in _CORRELATED]
            less = "~" if device in state.withholding else ""
            row.append(f"{less}{_number(state.evidence(device), 3)}")
        table.add_row(_Name(label), *row)
    return table


class _Name:
    """A device's name in the cells that the others leave."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(8, _LONGEST_NAME)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(_shorten(self._name, options.max_width))


def _alerts(state: WatchState, width: int, room: int | None) -> list[Text]:
    episodes, recorded = state.episodes()
    if not episodes:
        return [Text("no alerts", style="dim")]
    title = "alerts, newest first" if recorded else "alerts, found now: the log holds none"
    lines = [Text(title, style="dim")]
    for episode in episodes:
        if room is not None and len(lines) >= room:
            break
        lines += _episode_lines(episode, width)
    return lines if room is None else lines[: max(room, 1)]


def _episode_lines(episode: Episode, width: int) -> list[Text]:
    time_ns = int(episode.worst["time_ns"]) if episode.count == 1 else episode.last_ns
    moment = datetime.fromtimestamp(time_ns / 1e9).astimezone()
    style = _SEVERITY_STYLES.get(printable(episode.severity), "")
    head = (f"{moment:%H:%M:%S} {printable(episode.alert)} ", style)
    message = printable(episode.worst["message"])
    whole = Text.assemble(head, message if episode.count == 1 else f"{how_often(episode)}; worst: {message}")
    first, *rest = whole.wrap(Console(width=width, file=StringIO()), width - 2)
    return [first, *(Text("  ") + line for line in rest)]


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
