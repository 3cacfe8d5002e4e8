"""The commands of ingest that need no other room: import doctor."""

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
@click.option("--started-at", metavar="TIME", help="When the training began, for a log without times.")
@click.option(
    "--step-time",
    "step_time_s",
    type=FiniteRange(0, min_open=True),
    help="Seconds a step took, for a log without times; default from its train_runtime.",
)
@click.option(
    "--column",
    "columns",
    metavar="NAME=TAG",
    multiple=True,
    help="What a step log calls a column, e.g. grad_norm=optim/total_grad_norm; may be given again.",
)
@json_option
@click.pass_obj
def import_logs(
    runs: Path,
    /,
    paths: tuple[Path, ...],
    started_at: str | None,
    step_time_s: float | None,
    columns: tuple[str, ...],
    as_json: bool,
    **files: Any,
) -> None:
    """Turn recorded logs (a step log, a device log, or a folder with both) into a run.

    Formats are recognised by content: RLE CSV and step log JSON, TensorBoard events, W&B (.wandb,
    history CSV), nvidia-smi CSV, DCGM metrics (Prometheus text or range query), HWiNFO CSV. The Hugging
    Face trainer_state.json has no times: with --started-at they are estimated, and the run says so.

    Example: thermograd import recordings/run_1
    """
    from thermograd.ingest.importers.import_logs import describe_import, import_run
    from thermograd.ingest.importers.recording import Hints
    from thermograd.ingest.importers.steps.metric_names import named_columns
    from thermograd.store.shipping.writing import written_to

    hints = Hints(started_at, step_time_s, named_columns(columns))
    with written_to(runs, say) as folder:
        result = import_run(folder, list(paths), hints=hints, **files)
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
