"""What happens around events: averages locked to spikes, onsets, coincidence."""

from typing import TYPE_CHECKING

from thermograd.store.faces import lazy

if TYPE_CHECKING:
    from thermograd.analysis.event_study.coincidence import event_coincidence
    from thermograd.analysis.event_study.onsets import onset_test, onsets_of, residual_spikes
    from thermograd.analysis.event_study.triggered_average import event_triggered_average
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "thermograd.analysis.event_study.coincidence": "event_coincidence",
            "thermograd.analysis.event_study.onsets": "onset_test onsets_of residual_spikes",
            "thermograd.analysis.event_study.triggered_average": "event_triggered_average",
        },
    )

__all__ = ["event_coincidence", "event_triggered_average", "onset_test", "onsets_of", "residual_spikes"]
