"""What happens around events: averages locked to spikes, onsets, coincidence."""

from typing import TYPE_CHECKING

from thermograd.store.lazy_names import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "coincidence": "event_coincidence",
        "onsets": "onset_test onsets_of residual_spikes",
        "triggered_average": "event_triggered_average",
    },
)

if TYPE_CHECKING:
    from thermograd.analysis.event_study.coincidence import event_coincidence as event_coincidence
    from thermograd.analysis.event_study.onsets import onset_test as onset_test
    from thermograd.analysis.event_study.onsets import onsets_of as onsets_of
    from thermograd.analysis.event_study.onsets import residual_spikes as residual_spikes
    from thermograd.analysis.event_study.triggered_average import (
        event_triggered_average as event_triggered_average,
    )
