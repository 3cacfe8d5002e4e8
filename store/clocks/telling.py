"""The clocks of a run's hosts in words."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from thermograd.store.clocks.hosts import HostClock, RunClocks
from thermograd.store.text import table_text, without_nan

_FEWEST_DIGITS_S = 1e-4


def clock_text(clock: HostClock) -> str:
    """Return how far a host's clock was ahead, and how sure that is.

    >>> clock_text(HostClock("node-3", 0.1831, 0.0021, by="step ends"))
    'the clock of node-3 was +183 ± 2.1 ms'
    """
    if clock.unsure_s is None:
        return f"the clock of {clock.host} is not known ({clock.reason})"
    offset = 0.0 if clock.offset_s is None else clock.offset_s
    return f"the clock of {clock.host} was {_offset_ms(offset, clock.unsure_s)}"


def _offset_ms(offset_s: float, unsure_s: float) -> str:
    """Return an offset with as many digits as it is sure, in ms."""
    unsure_ms = 1e3 * max(unsure_s, _FEWEST_DIGITS_S)
    digits = 1 if unsure_ms < 1 else 0
    return f"{1e3 * offset_s:+,.{digits}f} ± {unsure_ms:.2g} ms"


def clock_lines(clocks: RunClocks) -> list[str]:
    """Return a sentence for each host: its offset from the reference's clock, or why there is none."""
    return [f"{_line(clock)}." for clock in clocks.hosts.values()]


def _line(clock: HostClock) -> str:
    text = clock_text(clock)
    if clock.by == "NTP":
        return f"{text} by what both time services promise; by step ends not: {clock.reason}"
    if clock.offset_s is None:
        return text
    text += f", {clock.drift_ppm:+.1f} ppm" if clock.drift_ppm is not None else ""
    for jump_s in clock.set_by_s:
        text += f"; it was set by {jump_s:+.3f} s during the run"
    return text


def clocks_shown(clocks: RunClocks | None) -> dict[str, Any]:
    """Return the JSON form of ``thermograd clocks``; ``reference`` is null for a run on one host."""
    if clocks is None:
        return {"reference": None, "reference_ntp": None, "hosts": []}
    hosts = [without_nan(asdict(clock)) for clock in clocks.hosts.values()]
    return {"reference": clocks.reference, "reference_ntp": clocks.reference_ntp, "hosts": hosts}


def describe_clocks(shown: Mapping[str, Any]) -> str:
    """Return the clocks of a run's hosts as a table, with what the offsets stand on."""
    if shown["reference"] is None:
        return "This run was written on one host: there are no clocks to compare."
    header = ("host", "ranks", "steps", "ahead, ms", "±, ms", "drift, ppm", "set by, s", "NTP", "by")
    rows = [_row(host) for host in shown["hosts"]]
    own = ("", "", "", "0", "", "", "", _ntp_text(shown["reference_ntp"]), "reference")
    lines = [table_text(header, [(shown["reference"], *own[1:]), *rows], header[1:6])]
    lines += [f"{host['host']}: {host['reason']}." for host in shown["hosts"] if host["reason"]]
    return "\n".join(lines)


def _row(host: Mapping[str, Any]) -> tuple[str, ...]:
    def ms(value: float | None, form: str) -> str:
        return "" if value is None else format(1e3 * value, form)

    drift = "" if host["drift_ppm"] is None else f"{host['drift_ppm']:+.1f}"
    jumps = ", ".join(f"{jump:+.3f}" for jump in host["set_by_s"])
    unsure = ms(host["unsure_s"], ".2g")
    counts = str(host["ranks"] or ""), str(host["steps"] or "")
    return (
        host["host"],
        *counts,
        ms(host["offset_s"], "+.2f"),
        unsure,
        drift,
        jumps,
        _ntp_text(host["ntp"]),
        host["by"],
    )


def _ntp_text(state: Mapping[str, Any] | None) -> str:
    """Return what a host said of its time service."""
    if state is None:
        return "not known"
    if not state.get("synchronised"):
        return "not synchronised"
    error_s = state.get("max_error_s")
    return "synchronised" if error_s is None else f"within {1e3 * error_s:.2g} ms"
