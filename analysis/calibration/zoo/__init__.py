"""What fools correlation: processes of known truth, by name; whoever wants to prove us wrong adds one."""

from thermograd.analysis.calibration.zoo import process as process

# Each adds its processes to the list, in this order.
from thermograd.analysis.calibration.zoo import (  # isort: skip
    memory as memory,
    trends as trends,
    bursts as bursts,
    rhythms as rhythms,
    sensors as sensors,
    gaps as gaps,
    one_lag as one_lag,
    slow as slow,
    other as other,
    mixtures as mixtures,
)
from thermograd.analysis.calibration.zoo.process import (  # isort: skip
    ZOO as ZOO,
    Maker as Maker,
    Pair as Pair,
    Process as Process,
    Recorded as Recorded,
    Rng as Rng,
    add_from as add_from,
    coupled as coupled,
    coupling as coupling,
    null as null,
    nulls as nulls,
    process_named as process_named,
    recorded_coupling as recorded_coupling,
    recorded_null as recorded_null,
    to_grid as to_grid,
)
