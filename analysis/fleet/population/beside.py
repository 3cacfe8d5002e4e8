"""What a run's report says of its devices' population: from what is kept, without reading another run."""

from thermograd.analysis.fleet.population.place import kept_path
from thermograd.store.runs.catalogue import Run


def population_lines(run: Run) -> list[str]:
    """Return where a run's devices stand, the farthest out first; empty where that is not known cheaply.

    It is where ``thermograd population`` has summed up the directory's runs and enough of them have a device
    of the same model.
    """
    models = {str(facts.get("model") or "") for facts in run.facts.get("devices", {}).values()} - {""}
    if not models or not kept_path(run.path.parent).exists():
        return []
    from thermograd.analysis.fleet.population.lines import standing_lines

    return standing_lines(run, models)
