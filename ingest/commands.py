"""The commands of ingest that need no other room: import doctor."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click
from thermograd.ingest.importers.hints.options import GroupedCommand, import_options
from thermograd.store.console import PATH, answer, json_option, say


@click.command(name="import", cls=GroupedCommand)
@click.argument("paths", nargs=-1, required=True, type=PATH)
@import_options
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
    """Turn recorded logs (of a training, of its hardware, or a folder with both) into a run.

    Formats are recognised by content, whatever the name; docs/importing.md lists them. What a log does not
    say, such as its time zone, is asked for and never guessed. Either there is a whole run afterwards, or
    one sentence that says what was wrong, and nothing.

    \b
    Trainings: TensorBoard, W&B, MLflow, Trackio, Hugging Face Trainer, Lightning, Ultralytics, Keras,
      LLaMA-Factory, JSON Lines, what Megatron-LM, NeMo, torchtitan, nanoGPT and others print
    Hardware: nvidia-smi (CSV, dmon, -q, screen), dcgmi, DCGM through Prometheus, gpustat, amd-smi,
      rocm-smi, HWiNFO, GPU-Z, Afterburner, tegrastats, powermetrics, CodeCarbon, Zeus
    Anything else: any CSV, JSON Lines or Parquet with --time and --column

    \b
    Example: thermograd import recordings/run_1
             thermograd import smi.csv --timezone Europe/Vienna --dry-run
             thermograd import mlruns --run all
             thermograd import out/trainer_state.json --started-at 2026-11-24T10:00:00Z
             thermograd import power.csv --time when --column power_w=Watt --device gpu0
    """  # noqa: D301 - click wants the character, not its name
    from thermograd.ingest.importers.every_run import describe_imports, import_every_run
    from thermograd.ingest.importers.hints.named import hints_of
    from thermograd.ingest.importers.import_logs import import_run
    from thermograd.ingest.importers.rows.progress_bar import progress_bar
    from thermograd.ingest.importers.stores.runs import EVERY
    from thermograd.store.shipping.writing import written_to

    hints = hints_of(**given)
    importer = import_every_run if hints.run == EVERY else import_run
    with nullcontext(runs) if dry_run else written_to(runs, say) as folder, progress_bar(not as_json):
        result = importer(folder, list(paths), training, telemetry, timezone, name, hints, dry_run)
    answer(result, as_json, describe_imports)


@click.command()
@json_option
@click.pass_obj
def doctor(runs: Path, as_json: bool) -> None:
    """Say what this machine can measure, and why not the rest.

    A GPU's power limit that the experiment of a killed training has left behind is put back.

    Example: thermograd doctor
    """
    from thermograd.ingest.devices.doctor import describe_machine, examine_machine

    answer(examine_machine(runs), as_json, describe_machine)
