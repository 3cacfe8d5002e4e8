"""The monitors whose logs are imported."""

from thermograd.ingest.importers.formats.monitors.codecarbon import CODECARBON
from thermograd.ingest.importers.formats.monitors.influx import INFLUX
from thermograd.ingest.importers.formats.monitors.own_lines import OWN_LINES
from thermograd.ingest.importers.formats.monitors.powermetrics import POWERMETRICS
from thermograd.ingest.importers.formats.monitors.powermetrics_plist import POWERMETRICS_PLIST
from thermograd.ingest.importers.formats.monitors.tegrastats import TEGRASTATS
from thermograd.ingest.importers.formats.monitors.turbostat import TURBOSTAT
from thermograd.ingest.importers.formats.monitors.zeus import ZEUS_POWER, ZEUS_WINDOWS

MONITORS = (
    CODECARBON,
    ZEUS_POWER,
    ZEUS_WINDOWS,
    TEGRASTATS,
    POWERMETRICS,
    POWERMETRICS_PLIST,
    TURBOSTAT,
    OWN_LINES,
    INFLUX,
)
