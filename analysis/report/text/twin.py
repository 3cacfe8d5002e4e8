"""Two runs of one training as text for a terminal: what is not the same first, then where they part."""

from thermograd.analysis.comparison.side_by_side import shortened_value
from thermograd.analysis.comparison.twin import Twin, size_text, spoken
from thermograd.analysis.comparison.twin_hardware import Moment
from thermograd.analysis.comparison.twin_values import Apart
from thermograd.analysis.display.numbers import DASH, shown_number
from thermograd.store.telling.quantities import counted
from thermograd.store.text import printable, table_text

_MOST_ROWS = 12


def describe_twin(twin: Twin) -> str:
    """Return a comparison of twins as text."""
    lines = [*_settings(twin), twin.sentence, ""]
    for place, run_id in enumerate(twin.run_ids):
        lines.append(f"  run {place + 1}  {run_id}  {_how(twin, place)}")
    lines += ["", *_compared(twin), *_layer(twin), *_warmth(twin), *_moments(twin), *_replays(twin)]
    return "\n".join(lines).rstrip().replace("−", "-").replace(DASH, "-")


def _how(twin: Twin, place: int) -> str:
    heat, step_s = twin.heat[place], twin.step_s[place]
    heated = f"heat by {heat}" if heat else "no heat by an experiment"
    return heated if step_s is None else f"{heated}; steps of {step_s:.3g} s (median)"


def _settings(twin: Twin) -> list[str]:
    """Return what is not the same in both, what makes two trainings of them first."""
    lines = []
    groups = (("Not the same training", twin.settings), ("Not the same place or name", twin.places))
    for title, settings in groups:
        rows = [
            (
                each.group,
                each.name,
                *(DASH if value is None else shortened_value(value) for value in each.values),
            )
            for each in settings[:_MOST_ROWS]
        ]
        if rows:
            lines += [table_text([title, "", "run 1", "run 2"], rows)]
            more = len(settings) - len(rows)
            lines += [f"and {more} more: in --json"] * (more > 0) + [""]
    return lines


def _compared(twin: Twin) -> list[str]:
    parted = {each.signal: each for each in twin.apart}
    rows = [(spoken(name), f"{n:,}", _of_signal(parted.get(name))) for name, n in twin.compared.items() if n]
    lines = [table_text(["compared", "values", ""], rows)] if rows else []
    alone = [f"{n:,} of {spoken(name)}" for name, n in twin.one_sided.items()]
    lines += [f"Known in one run only: {', '.join(alone)}."] if alone else []
    for place, n in enumerate((twin.only_first, twin.only_second), 1):
        lines += [f"Run {place} alone has {counted(n, 'step')}."] if n else []
    return lines


def _of_signal(apart: Apart | None) -> str:
    if apart is None:
        return "equal to the last bit"
    share = f"{apart.different:,} differ, first at step {apart.step:,} of rank {apart.rank}"
    return f"{share}{size_text(apart)}"


def _layer(twin: Twin) -> list[str]:
    if twin.layer is None:
        return ["No layer norms were logged by both runs (layer_norms=True)."] if twin.apart else []
    layer = twin.layer
    share = "" if layer.relative is None else f" ({layer.relative:.2g} of it)"
    which = f"{printable(layer.layer, 60)}: {layer.first:.9g} and {layer.second:.9g}{share}"
    of = f"{layer.layers_different} of {counted(layer.layers_compared, 'layer')}"
    return [f"Layers: at step {layer.step:,} of rank {layer.rank} the norms of {of} differ, most {which}."]


def _warmth(twin: Twin) -> list[str]:
    rows = [
        (
            f"{row.role}{', simulated' if row.simulated else ''}",
            *(shown_number(value, ".1f") for value in (row.first_c, row.second_c, row.first_w, row.second_w)),
        )
        for row in twin.warmth
    ]
    heads = ["while training", "run 1, °C", "run 2, °C", "run 1, W", "run 2, W"]
    return ["", table_text(heads, rows)] if rows else []


def _moments(twin: Twin) -> list[str]:
    first = twin.first
    if first is None or not twin.moments:
        return []
    measured = [each for each in twin.moments if _is_measured(each)]
    if not measured:
        return ["", f"No device told temperature, power, clock or memory errors at step {first.step:,}."]
    rows = [_moment(each, twin) for each in measured[:_MOST_ROWS]]
    heads = [f"at step {first.step:,}", "device", "°C", "W", "MHz", "ECC corrected", "uncorrected", "sampled"]
    more = len(measured) - len(rows)
    return ["", table_text(heads, rows), *[f"and {more} more: in --json"] * (more > 0)]


def _is_measured(moment: Moment) -> bool:
    values = (moment.temperature_c, moment.power_w, moment.sm_clock_mhz)
    return any(value is not None for value in (*values, moment.ecc_corrected, moment.ecc_uncorrected))


def _moment(moment: Moment, twin: Twin) -> tuple[str, ...]:
    label = f"{printable(moment.label)}{', simulated' if moment.simulated else ''}"
    values = (moment.temperature_c, moment.power_w, moment.sm_clock_mhz)
    errors = (moment.ecc_corrected, moment.ecc_uncorrected)
    return (
        f"run {twin.run_ids.index(moment.run_id) + 1}",
        label,
        *(shown_number(value, ".0f" if place == 2 else ".1f") for place, value in enumerate(values)),
        *(DASH if count is None else f"{count:,}" for count in errors),
        "no sample near it" if moment.dt_s is None else f"{abs(moment.dt_s):.1f} s off",
    )


def _replays(twin: Twin) -> list[str]:
    lines = []
    for run_id, said in twin.replays[:_MOST_ROWS]:
        at = "" if said.step is None else f" at step {said.step:,}"
        who = "" if said.rank is None else f" of rank {said.rank}"
        run = twin.run_ids.index(run_id) + 1
        lines.append(f"{said.program} in run {run}{at}{who}: {said.verdict} ({printable(said.text, 200)})")
    more = len(twin.replays) - len(lines)
    return ["", *lines, *[f"and {more:,} more: in --json"] * (more > 0)] if lines else []
