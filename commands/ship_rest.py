"""The hidden command of the process that an agent leaves behind: ship-rest."""

from pathlib import Path

import click
from thermograd.store.console import PATH


@click.command(name="ship-rest", hidden=True)
@click.argument("run_dir", type=PATH)
def ship_rest(run_dir: Path) -> None:
    """Ship a run to its end, and what others left beside it (started by an agent that ends)."""
    from thermograd.ingest.agent.footprint import SparingFinder

    SparingFinder().install()
    from thermograd.store.shipping.rounds import ship_rest

    ship_rest(run_dir)
