"""The agent's process, and the stream layer that it is given.

`AgentProcess` starts this module: no command line is read, which would take a fifth of the start.
"""

import contextlib
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import threading

    from thermograd.ingest.agent.silence import SilenceLimits
    from thermograd.store.log.writer import EventWriter
    from thermograd.stream.commands import LayerOptions


def run_told(told: str) -> None:
    """Sample devices and raise alerts for a run, as `AgentProcess` says it in JSON."""
    from thermograd.ingest.agent.agent import run_agent
    from thermograd.ingest.agent.silence import SilenceLimits
    from thermograd.store.errors import ThermogradError

    given = json.loads(told)
    run_dir, hz, parent, simulate = (given[name] for name in ("run_dir", "hz", "parent", "simulate"))
    limits, path = SilenceLimits(), Path(run_dir)
    watch = stream_layer(path, None, limits, given["alerts_json"], given["card"], parent)
    try:
        run_agent(path, hz, parent, simulate, watch, limits=limits)
    except ThermogradError as error:
        sys.exit(f"Error: {error}")


def stream_layer(
    run_dir: Path,
    options: "LayerOptions | None" = None,
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
        settings = live_settings(options and options.config, trouble)
        if options is not None:
            settings = options.given(settings)
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


if __name__ == "__main__":
    run_told(sys.argv[2])
