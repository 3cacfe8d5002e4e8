"""The hidden commands of the agent's process, and the stream layer that it is given: agent ship-rest."""

import contextlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from thermograd.store.console import PATH, FiniteRange
from thermograd.stream.commands import LayerOptions, layer_options

if TYPE_CHECKING:
    import threading

    from thermograd.ingest.agent.silence import SilenceLimits
    from thermograd.store.log.writer import EventWriter


@click.command(name="agent", hidden=True)
@click.argument("run_dir", type=PATH)
@click.option("--hz", default=5.0, type=FiniteRange(0.1, 10))
@click.option("--parent", required=True, type=int)
@click.option("--simulate", default=None)
@click.option("--alerts-json", is_flag=True, help="Print each alert as a line of JSON, too.")
@click.option("--card", is_flag=True, help="End with the run's card.")
@layer_options
def run_agent_process(
    run_dir: Path, hz: float, parent: int, simulate: str | None, layer: LayerOptions, **told: bool
) -> None:
    """Sample devices and raise alerts for a run (started by `start_run`)."""
    from thermograd.ingest.agent.agent import run_agent
    from thermograd.ingest.agent.silence import SilenceLimits

    limits = SilenceLimits()
    watch = stream_layer(run_dir, layer, limits, parent=parent, **told)
    run_agent(run_dir, hz, parent, simulate, watch, limits=limits)


_NO_OPTIONS = LayerOptions()


@click.command(name="ship-rest", hidden=True)
@click.argument("run_dir", type=PATH)
def ship_rest(run_dir: Path) -> None:
    """Ship a run to its end, and what others left beside it (started by an agent that ends)."""
    from thermograd.ingest.agent.footprint import SparingFinder

    SparingFinder().install()
    from thermograd.store.shipping.rounds import ship_rest

    ship_rest(run_dir)


def stream_layer(
    run_dir: Path,
    options: LayerOptions = _NO_OPTIONS,
    limits: "SilenceLimits | None" = None,
    alerts_json: bool = False,
    card: bool = False,
    parent: int = 0,
) -> Any:
    """Return what the agent calls to watch a run's log: ingest and stream do not know each other.

    When something is silent the configuration says, and `limits` to the sampler.
    """

    def layer(writer: "EventWriter", stop: "threading.Event") -> None:
        from thermograd.ingest.agent.agent import loading

        with loading:
            from thermograd.ingest.agent.saying import Sayings
            from thermograd.store.card.tally import FollowedRun
            from thermograd.store.log.watched import leave_watched
            from thermograd.store.runs.catalogue import Run
            from thermograd.stream.pipeline.config import live_settings
            from thermograd.stream.pipeline.live import watch_log

        def trouble(text: str) -> None:
            writer.append("mark", mark="error", text=text)
            said.say(f"thermograd: {text}")

        def where() -> Path:
            return writer.run_dir

        def leave(state: Any) -> None:
            leave_watched(where(), writer.writer, state)

        facts, log, said = Run(run_dir).facts, FollowedRun(where), Sayings(parent, alerts_json)
        settings = options.given(live_settings(options.config, trouble))
        if limits is not None:
            limits.periods, limits.quiet_s = settings.silence.periods, settings.silence.quiet_s
        watched = partial(watch_log, leave=leave, run_dir=where)
        watched = partial(
            watched,
            log.poll,
            said.alerts(writer.append),
            facts.get("devices", {}),
            stop,
            said.say,
            settings,
            facts,
        )
        with contextlib.ExitStack() as around:
            around.callback(log.close)
            if card:
                around.callback(said.card, log.card)
            if settings.publish.url:
                from thermograd.stream.fleet.publishing import publishing

                publisher = publishing(settings.publish, where, writer.writer, stop, trouble)
                watched = partial(watched, around.enter_context(publisher))
            watched()

    return layer
