"""The commands of ingest that need no other room: import doctor."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click
from thermograd.store.console import PATH, FiniteRange, answer, json_option, say


@click.command(name="import")
@click.argument("paths", nargs=-1, required=True, type=PATH)
@click.option("--training", type=PATH, help="The step log among the files.")
@click.option("--telemetry", type=PATH, help="The device log among the files.")
@click.option("--timezone", help="Zone of times that name none, e.g. UTC or Europe/Vienna.")
@click.option("--name", help="What you call the run; default the folder's or file's name.")
@click.option("--started-at", metavar="TIME", help="When a log without times, or without dates, began.")
@click.option(
    "--step-time",
    "step_time_s",
    type=FiniteRange(0, min_open=True),
    help="Seconds a step took, for a log without times; default from its train_runtime.",
)
@click.option(
    "--steps-per-epoch",
    metavar="N",
    type=click.IntRange(1, 10**9),
    help="Steps an epoch has, for a log of epochs (Ultralytics, Keras).",
)
@click.option(
    "--sample-time",
    "sample_time_s",
    type=FiniteRange(0, min_open=True),
    help="Seconds from one sample to the next, for a device log that has no times and does not say it.",
)
@click.option(
    "--column",
    "columns",
    metavar="NAME=TAG",
    multiple=True,
    help="What the log calls a column, e.g. grad_norm=optim/total_grad_norm; may be given again.",
)
@click.option(
    "--unit",
    "units",
    metavar="NAME=UNIT",
    multiple=True,
    help="The unit of the log's numbers of a column, e.g. power_w=mW; may be given again.",
)
@click.option("--device", metavar="NAME", help="The device of rows that name none; default gpu.")
@click.option("--columns", "fields", metavar="A,B,...", help="The columns of a log without a header.")
@click.option("--time", metavar="COLUMN", help="The column with the times, to import any table.")
@click.option("--pattern", metavar="REGEX", help="A line of a text log, with named groups (step, loss, ...).")
@click.option("--run", metavar="ID", help="Which run of a store that holds several; all for each of them.")
@click.option("--dry-run", is_flag=True, help="Say what would be taken from which column; write nothing.")
@json_option
@click.pass_obj
def import_logs(
    runs: Path,
    /,
    paths: tuple[Path, ...],
    training: Path | None,
    telemetry: Path | None,
    timezone: str | None,
    name: str | None,
    dry_run: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Turn recorded logs (a step log, a device log, or a folder with both) into a run.

    Formats are recognised by content: RLE CSV and step log JSON, TensorBoard events, W&B (.wandb,
    history CSV), nvidia-smi CSV, DCGM metrics (Prometheus text or range query), HWiNFO CSV. The Hugging
    Face trainer_state.json has no times: with --started-at they are estimated, and the run says so.

    Example: thermograd import recordings/run_1
    """
    from thermograd.ingest.importers.hints.named import hints_of
    from thermograd.ingest.importers.import_logs import describe_import, import_run
    from thermograd.store.shipping.writing import written_to

    hints = hints_of(**given)
    with nullcontext(runs) if dry_run else written_to(runs, say) as folder:
        result = import_run(folder, list(paths), training, telemetry, timezone, name, hints, dry_run)
    answer(result, as_json, describe_import)


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Say what this machine can measure, and why not the rest.

    Example: thermograd doctor
    """
    from thermograd.ingest.devices.doctor import describe_machine, examine_machine

    answer(examine_machine(), as_json, describe_machine)


COMMANDS = (import_logs, doctor)
