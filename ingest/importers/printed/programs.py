"""The table of patterns: how each program prints a step, and which of its names is which column.

A pattern is searched in a line; its named groups are the step, columns, or `rest`: the part with names and
values, which `pairs` finds. What is no column is kept as a metric, under the program's own name for it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from thermograd.ingest.importers.hints.units import UNITS, unit_in_name

NUMBER = r"[-+]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+|(?i:nan|inf(?:inity)?)\b)"
_UNIT = r"(?P<unit>(?:ms|us|s|m|%|GiB|GB|MiB|MB)(?![\w/]))?"
# name: value, between bars, commas or blanks; a name and its value are apart by a colon, = or a blank.
_BARS = (
    rf"(?:^|\|)\s*(?:(?P<name>[^|:=\n]{{1,60}}?)\s*[:=]\s*(?P<value>{NUMBER})\s*{_UNIT}(?=[\s|/(]|$)"
    rf"|(?P<name_>[A-Za-z_ ]{{1,40}}?)\s+(?P<value_>{NUMBER})(?=\s*[|(]|\s*$))"
)
_COMMAS = (
    rf"(?:^|,)\s*(?P<name>[^,|:=\n]{{1,60}}?)(?:\s*[:=]\s*|\s+)(?P<value>{NUMBER})\s*{_UNIT}(?=[\s,|]|$)"
)
_BLANKS = rf"(?:^|\s)(?P<name>[A-Za-z_][^:=|,\n]{{0,60}}?)\s?[:=]\s*(?P<value>{NUMBER}){_UNIT}"
_QUOTED = rf"[\"'](?P<name>[^\"'\n]{{1,80}})[\"']: [\"']?(?P<value>{NUMBER})[\"']?(?=[,}}])"
_VALUE = rf"\s*(?P<name>[A-Za-z][^=\[\]{{}}\n]{{0,80}})=(?P<value>{NUMBER})\s*$"
SKIPPED, SKIPPED_SO_FAR, ELAPSED = "_skipped", "_skipped_so_far", "_elapsed_s"
TIME_PASSED = "_time_passed"  # a line's time that counts from the start, in the unit that a person says


@dataclass(frozen=True)
class Program:
    """How a program prints its steps."""

    name: str
    entries: tuple[re.Pattern[str], ...]  # of a line that tells of a step
    pairs: re.Pattern[str] | None = None  # a name, its value and unit in the `rest` of an entry
    # What it calls a column, and the unit of that where its name says it.
    columns: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    asides: tuple[tuple[re.Pattern[str], str], ...] = ()  # lines of an evaluation; what goes before its names
    details: re.Pattern[str] | None = None  # a line below an entry that belongs to it
    first_step: int = 1  # what it calls the first step
    counts_from_what_comes: bool = False  # from 0 where that is among the first steps, else from 1
    is_mean: bool = False  # its step time is the mean of the steps since the line before
    bar: re.Pattern[str] | None = None  # the progress bar that says the step, where a line does not
    note: str | None = None  # what a reader of its numbers should know
    has_stand_in: bool = False  # a process of a pipeline that has no loss prints a negative whole number
    said: frozenset[str] = frozenset()  # columns whose names a person says: no other name is theirs

    def with_columns(self, named: Iterable[tuple[str, str]]) -> "Program":
        """Return it with the names that a person says of columns, instead of those that it is known for."""
        tags = {
            tag: (column, unit_in_name(column, tag) if column in UNITS else None) for column, tag in named
        }
        said = frozenset(column for column, _ in tags.values())
        others = {name: column for name, column in self.columns.items() if column[0] not in said}
        return replace(self, columns=others | tags, said=said) if said else self


def _program(
    name: str,
    *entries: str,
    pairs: str | None = None,
    asides: tuple[tuple[str, str], ...] = (),
    details: str | None = None,
    bar: str | None = None,
    columns: dict[str, str | tuple[str, str]],
    **others: Any,
) -> Program:
    return Program(
        name,
        tuple(re.compile(entry) for entry in entries),
        pairs=re.compile(pairs) if pairs else None,
        columns={n: column if isinstance(column, tuple) else (column, None) for n, column in columns.items()},
        asides=tuple((re.compile(pattern), prefix) for pattern, prefix in asides),
        details=re.compile(details) if details else None,
        bar=re.compile(bar) if bar else None,
        **others,
    )


_STEPS = r"(?P<step>\d{1,15})"
PROGRAMS = (
    _program(
        "NeMo",
        r"\bTraining epoch (?P<epoch>\d+), iteration \d+/\d+ \|(?P<rest>.*\bglobal_step: .*)",
        pairs=_BARS,
        columns={
            "global_step": "step",
            "reduced_train_loss": "loss",
            "grad_norm": "grad_norm",
            "lr": "learning_rate",
            "train_step_timing in s": "step_time_s",
        },
        first_step=0,
    ),
    _program(
        "Megatron-LM",
        rf"\b[Ii]teration:?\s+{_STEPS}/\s*\d+ \|(?P<rest>.*(?:elapsed time|consumed samples|lm loss).*)",
        pairs=_BARS,
        asides=((rf"\bvalidation loss at iteration {_STEPS}(?: on [\w ]+)? \|(?P<rest>.*)", "validation/"),),
        columns={
            "lm loss": "loss",
            "loss": "loss",
            "grad norm": "grad_norm",
            "learning rate": "learning_rate",
            "elapsed time per iteration (ms)": ("step_time_s", "ms"),
            "elapsed time per iteration (s)": "step_time_s",
            "number of skipped iterations": SKIPPED,
        },
        is_mean=True,
        note="losses and step times are the means of the iterations since the line before",
    ),
    _program(
        "NeMo (progress bar)",
        r"\bEpoch (?P<epoch>\d+):.{0,80}\[[^\]]*?,(?P<rest>[^\]]*\bglobal_step=[^\]]*)",
        pairs=_COMMAS,
        columns={
            "global_step": "step",
            "reduced_train_loss": "loss",
            "grad_norm": "grad_norm",
            "gradient_norm": "grad_norm",
            "lr": "learning_rate",
            "train_step_timing in s": "step_time_s",
        },
        first_step=0,
    ),
    _program(
        "torchtitan",
        rf"(?<!validate )\bstep:\s*{_STEPS}\s+(?P<rest>loss:.*\b(?:memory|tps):.*)",
        pairs=_BLANKS,
        asides=((rf"\bvalidate step:\s*{_STEPS}\s+(?P<rest>loss:.*)", "validation/"),),
        columns={"loss": "loss", "grad_norm": "grad_norm", "lr": "learning_rate"},
        has_stand_in=True,
    ),
    _program(
        "nanochat",
        rf"\bstep\s+{_STEPS}(?:/\d+)? \([\d.]+%\) \|(?P<rest>.*\bloss: .*\bdt: .*)",
        rf"\bStep {_STEPS}/\d+ \|(?P<rest> Training loss: .*)",
        pairs=_BARS,
        asides=((rf"\bStep {_STEPS} \|(?P<rest> Validation .*)", ""),),
        columns={
            "loss": "loss",
            "Training loss": "loss",
            "grad norm": "grad_norm",
            "dt": "step_time_s",
            "epoch": "epoch",
            "num_tokens": "tokens",
        },
        first_step=0,
        note="its loss is a running mean (its lrm the factor of the learning rates)",
    ),
    _program(
        "build-nanogpt",
        rf"\bstep\s+{_STEPS} \|(?P<rest>\s*(?:epoch \d+ \| )?loss:? .*(?:lr|norm):? .*)",
        pairs=_BARS,
        columns={
            "loss": "loss",
            "norm": "grad_norm",
            "grad_norm": "grad_norm",
            "lr": "learning_rate",
            "dt": "step_time_s",
            "time": "step_time_s",
            "epoch": "epoch",
        },
        first_step=0,
    ),
    _program(
        "llm.c",
        rf"\bstep\s+{_STEPS}/\d+ \|(?P<rest> loss .*\| norm .*?)\|\s*(?P<step_time_ms>[\d.]+) ms",
        pairs=_BARS,
        columns={"loss": "loss", "norm": "grad_norm", "lr": "learning_rate"},
    ),
    _program(
        "nanoGPT",
        rf"\biter {_STEPS}: (?P<rest>loss .*)",
        pairs=_COMMAS,
        asides=((rf"\bstep {_STEPS}: (?P<rest>(?:train|val) loss .*)", ""),),
        columns={
            "loss": "loss",
            "grad_norm": "grad_norm",
            "norm": "grad_norm",
            "lr": "learning_rate",
            "time": "step_time_s",
        },
        first_step=0,
    ),
    _program(
        "modded-nanogpt",
        rf"\bstep:{_STEPS}/\d+ (?P<rest>(?:train_loss:\S+ )?train_time:\S+.*)",
        pairs=_BLANKS,
        asides=((rf"\bstep:{_STEPS}/\d+ (?P<rest>val_loss:.*)", ""),),
        columns={"train_loss": "loss", "train_time": ELAPSED},
        note="its train_time stands still while it validates",
    ),
    _program(
        "OLMo",
        rf"\[step={_STEPS}/(?:\d+|\?+)(?P<rest>,[^\]\n]*)?\]",
        pairs=r"(?:^|,)(?P<name>epoch)=(?P<value>\d+)(?P<unit>)",
        details=rf"^(?:\S+Z?\s|\S*\]:?)?\s{{2,}}{_VALUE}",
        columns={
            "train/CrossEntropyLoss": "loss",
            "train/CE loss": "loss",
            "optim/total_grad_norm": "grad_norm",
            "optim/total grad norm": "grad_norm",
            "optim/learning_rate_group0": "learning_rate",
            "optim/LR (group 0)": "learning_rate",
            "optim/step skipped": "skipped",
            "epoch": "epoch",
        },
    ),
    _program(
        "DeepSpeed",
        rf"\[Rank \d+\] step={_STEPS}, skipped=(?P<_skipped_so_far>\d+), lr=\[(?P<learning_rate>{NUMBER})",
        rf"\bsteps: {_STEPS} (?P<rest>loss: .*\biter time \(s\): .*)",
        rf"/micro_step=\d+/global_step={_STEPS}, (?P<rest>RunningAvgSamplesPerSec=.*)",
        pairs=rf"(?:^|[\s,])(?P<name>[A-Za-z][\w/. ()]{{0,60}}?)[:=]\s?(?P<value>{NUMBER}){_UNIT}",
        columns={"loss": "loss", "lm loss": "loss", "iter time (s)": "step_time_s"},
        is_mean=True,
    ),
    _program(
        "fairseq",
        r"\| INFO \| train_inner \| (?P<rest>\{.*\"num_updates\": .*\})",
        r"\| INFO \| train_inner \| epoch (?P<epoch>\d+):\s*\d+ / \d+ (?P<rest>.*\bnum_updates=.*)",
        pairs=rf"{_QUOTED}(?P<unit>)|(?:^|, )(?P<name_>\w+)=(?P<value_>{NUMBER})",
        columns={
            "num_updates": "step",
            "loss": "loss",
            "gnorm": "grad_norm",
            "lr": "learning_rate",
            "epoch": "epoch",
        },
        note="its losses are to base 2",
    ),
    _program(
        "torchtune",
        rf"\bStep {_STEPS} \| (?P<rest>loss:\S+ .*)",
        pairs=_BLANKS,
        columns={"loss": "loss", "grad_norm": "grad_norm", "lr": "learning_rate"},
    ),
    _program(
        "torchtune (progress bar)",
        rf"^(?P<epoch>\d+)\|{_STEPS}\|Loss: (?P<loss>{NUMBER})",
        columns={},
    ),
    _program(
        "Hugging Face Trainer (printed)",
        r"(?P<rest>\{'(?:loss|grad_norm|reward)': .*\})",
        asides=((r"(?P<rest>\{'(?:eval_\w+|train_runtime)': .*\})", ""),),
        pairs=rf"{_QUOTED}(?P<unit>)|'(?P<name_>global_step/max_steps)': '(?P<value_>\d+)/\d+'",
        columns={
            "global_step/max_steps": "step",
            "loss": "loss",
            "grad_norm": "grad_norm",
            "learning_rate": "learning_rate",
            "epoch": "epoch",
            "step_time": "step_time_s",
        },
        note="its losses are the means of the steps since the line before",
        bar=r"(?:^|\]:)\s*(?:Train: +)?\d+%\|.{0,400}?\|\s*(?P<step>\d{1,15})/(?P<total>\d{1,15}) \[",
    ),
)
