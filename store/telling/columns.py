"""What the columns, and the signals that are derived from them, are called for a person, and their units."""

from typing import NamedTuple


class Signal(NamedTuple):
    """A quantity for a person: its name as inside a sentence, and its unit in ASCII, empty for none."""

    name: str
    unit: str = ""

    @property
    def title(self) -> str:
        """The name as a heading begins it."""
        return self.name[:1].upper() + self.name[1:]

    @property
    def symbol(self) -> str:
        """The unit as it is printed on an axis."""
        return self.unit.replace("degC", "°C")


SIGNALS = {
    "step": Signal("step"),
    "epoch": Signal("epoch"),
    "loss": Signal("loss"),
    "grad_norm": Signal("gradient norm"),
    "max_grad_norm": Signal("clip bound"),
    "learning_rate": Signal("learning rate"),
    "step_time_s": Signal("step time", "s"),
    "tokens": Signal("tokens"),
    "tokens_per_s": Signal("tokens a second"),
    "utilization_pct": Signal("utilisation", "%"),
    "power_w": Signal("power", "W"),
    "power_w_average": Signal("average power", "W"),
    "power_limit_w": Signal("power limit", "W"),
    "energy_j": Signal("energy", "J"),
    "temperature_c": Signal("temperature", "degC"),
    "memory_temperature_c": Signal("memory temperature", "degC"),
    "slowdown_margin_c": Signal("slowdown margin", "degC"),
    "sm_clock_mhz": Signal("clock", "MHz"),
    "memory_clock_mhz": Signal("memory clock", "MHz"),
    "memory_used_bytes": Signal("memory in use", "bytes"),
    "fan_pct": Signal("fan speed", "%"),
    "throttled_s": Signal("throttled time", "s"),
    "throttled_ratio": Signal("throttled time", "share"),
    "rle": Signal("RLE"),
    "reported_rle": Signal("reported RLE"),
}


def signal(column: str) -> Signal:
    """Return what a column is called; one that is not in the table keeps its own name.

    Examples
    --------
    >>> signal("temperature_c").title, signal("temperature_c").symbol, signal("my_metric").name
    ('Temperature', '°C', 'my_metric')
    """
    return SIGNALS.get(column, Signal(column))
