"""The first processes of known truth, on which much was measured; the zoo holds these and all later ones.

x stands for log(grad_norm), y for a sensor, one bin for 1 s. Each maker takes (rng, m, ...) and returns a
`Pair`.
"""

from thermograd.analysis.calibration.zoo import (
    ZOO,
    Maker as Maker,
    Pair as Pair,
    Rng as Rng,
)
from thermograd.analysis.calibration.zoo.bursts import (
    burst as burst,
    coll as coll,
    heavy as heavy,
)
from thermograd.analysis.calibration.zoo.memory import ar as ar, cont as cont
from thermograd.analysis.calibration.zoo.one_lag import (
    cont_trend as cont_trend,
    couplings as couplings,
    spike as spike,
)
from thermograd.analysis.calibration.zoo.signals import autoregressive as autoregressive
from thermograd.analysis.calibration.zoo.trends import (
    coincident_kink as coincident_kink,
    driver as driver,
    trend as trend,
)

_FIRST = (
    *("ar.5", "ar.9", "ar.98", "trend", "kink", "rw"),
    *("heavy", "hetero", "burst", "period", "coll", "driver"),
)
NULLS: dict[str, Maker] = {name: ZOO[name].make for name in _FIRST}

COUPLINGS: dict[str, Maker] = {
    **{name: make for name, (make, _) in couplings().items()},
    "cont .5": ZOO["cont .5"].make,
}
