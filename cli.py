"""The command line: which commands there are, where each is, and what each does in a sentence.

A command is imported when it is called; the help of all needs none of them. A command parses, calls one
function, and echoes. Results go to stdout, progress and messages to stderr. Exit code 0: done, 1: a clear
error, 2: usage.
"""

import sys
from pathlib import Path

try:
    from thermograd.store.lazy_names import keep_pandas_out, no_collection

    with no_collection():
        import click
        from thermograd.store.console import Group, LazyCommands
except ModuleNotFoundError as missing:
    if __name__ != "__main__":
        raise
    root = Path(__file__).resolve().parent
    sys.exit(
        f"Error: thermograd is not installed in this Python ({missing}); "
        f"{sys.executable} -m pip install '{root}[report]' installs it, with the command `thermograd`"
    )

# A command's first sentence stands here, too, for the help of all; None: it is hidden. A test compares.
_COMMANDS = LazyCommands(
    {
        "analyze": (
            "thermograd.analysis.commands:analyze",
            "Say whether training and hardware are coupled, how strongly, and how sure that is.",
        ),
        "cache": (
            "thermograd.store.commands:cache",
            "Show what of runs at URLs is kept on this disk, or remove it.",
        ),
        "calibrate": (
            "thermograd.analysis.commands:calibrate",
            "Measure false positives and power for your sampling rate and run length; "
            "Ctrl-C keeps what is done.",
        ),
        "card": ("thermograd.analysis.run_commands:card", None),
        "clocks": (
            "thermograd.store.commands:clocks",
            "Say how far the clocks of a run's hosts are apart, by the ends of steps that all ranks share.",
        ),
        "compact": (
            "thermograd.store.commands:compact",
            "Fold what is told of all runs into one file, and the events of those that have ended into few.",
        ),
        "compare": (
            "thermograd.analysis.commands:compare",
            "Put runs side by side: what they say together, and how alike the trainings are.",
        ),
        "config": (
            "thermograd.stream.commands:config_group",
            "Show the configuration; print the dashboard and the alert rules for its metrics.",
        ),
        "demo": (
            "thermograd.commands.simulation:demo",
            "Train a small language model offline and show what the instrument sees.",
        ),
        "devices": (
            "thermograd.analysis.commands:devices",
            "Say which GPU, host, rack or switch has more trouble than its peers, or that none has.",
        ),
        "doctor": (
            "thermograd.ingest.commands:doctor",
            "Say what this machine can measure, and why not the rest.",
        ),
        "experiment": (
            "thermograd.commands.training:experiment",
            "Run a training with interventions drawn by chance: does heat reach it, or it the hardware.",
        ),
        "experiment-plan": ("thermograd.analysis.experiment_commands:experiment_plan", None),
        "experiment-verdict": ("thermograd.analysis.experiment_commands:experiment_verdict", None),
        "export": ("thermograd.store.commands:export", "Write a run's events for other tools."),
        "import": (
            "thermograd.ingest.commands:import_logs",
            "Turn recorded logs (of a training, of its hardware, or a folder with both) into a run.",
        ),
        "moment": ("thermograd.analysis.run_commands:moment", None),
        "population": (
            "thermograd.analysis.commands:population",
            "Say how a run's devices stand among the others of their model, in all runs that there are.",
        ),
        "publish": (
            "thermograd.analysis.fleet_commands:publish",
            "Commit the events of ended runs and the findings to tables for Spark, Trino, Polars, DuckDB.",
        ),
        "query": (
            "thermograd.commands.query:query",
            "Answer one SELECT over all runs: runs, steps, samples, aligned, throttling, ...",
        ),
        "record": (
            "thermograd.commands.training:record",
            "Sample this machine's devices, without a training run; or receive what others measure, by OTLP.",
        ),
        "replay": (
            "thermograd.stream.commands:replay",
            "Run the stream layer over a log again, with the definitions it was recorded with or others.",
        ),
        "report": (
            "thermograd.analysis.commands:report",
            "Write report.html, the figures as PNG, PDF and SVG, and analysis.json of a run.",
        ),
        "run": (
            "thermograd.commands.training:run_command",
            "Run an unmodified training command, recorded; also torchrun and accelerate launch.",
        ),
        "runs": (
            "thermograd.store.commands:list_all_runs",
            "List the runs, oldest first; as a table the newest ones.",
        ),
        "seal": (
            "thermograd.store.commands:seal",
            "Turn a run's live segments into Parquet; of a live run only what is complete.",
        ),
        "serve": (
            "thermograd.analysis.serve.command:serve",
            "Show the runs in the browser, live, until Ctrl-C: a page that only reads.",
        ),
        "ship": (
            "thermograd.store.commands:ship",
            "Ship a run that lies here to a URL: what is not there yet.",
        ),
        "ship-rest": ("thermograd.commands.ship_rest:ship_rest", None),
        "show": (
            "thermograd.analysis.run_commands:show",
            "Show one run: facts, what heat cost it, devices, gaps and alerts.",
        ),
        "simulate": (
            "thermograd.commands.simulation:simulate",
            "Write a run of known truth, labelled simulated: watch the instrument be right, or wrong.",
        ),
        "tag": ("thermograd.store.commands:tag", "Give a run tags and a note, or show those that it has."),
        "twin": (
            "thermograd.commands.training:twin",
            "Run one training twice with the same seed, without and with heat; say which step differs first.",
        ),
        "verify": (
            "thermograd.store.commands:verify",
            "Read every file of a run with its checksums and say what is whole.",
        ),
        "watch": (
            "thermograd.stream.commands:watch",
            "Show a live or finished run in the terminal until q or Ctrl-C; "
            "with --all or --fleet all live runs.",
        ),
    }
)


@click.group(
    cls=Group,
    commands=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--runs",
    envvar="THERMOGRAD_RUNS",
    default="runs",
    show_default=True,
    help="Directory of runs, or s3://, gs://, az:// of a bucket.",
)
@click.version_option(package_name="thermograd")
@click.pass_context
def main(context: click.Context, runs: str) -> None:
    """Find out whether a training run shakes its hardware, or the hardware its training run."""
    keep_pandas_out()
    context.obj = Path(runs)
    if ":" in runs or not runs.strip():
        from thermograd.store.errors import PlaceError
        from thermograd.store.places.place import fault_of, folder_of

        if fault := fault_of(runs):  # as a path it would be a folder, or another bucket
            raise PlaceError(f"--runs: {fault}")
        context.obj = folder_of(runs) or context.obj


if __name__ == "__main__":
    main(prog_name="thermograd")
