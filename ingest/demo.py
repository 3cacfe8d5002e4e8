"""The demonstration job: a byte-level GPT-2 from scratch on text that ships with Python, offline.

Three of its batches are spoilt on purpose and marked in the log, so that what the detectors find can be
counted against the truth.
"""

import hashlib
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from thermograd.store.errors import MissingExtraError
from thermograd.store.runs.catalogue import Run as StoredRun, create_run

_BATCH, _CONTEXT = 8, 128
_FAULTS = ("noise", "one byte", "noise")
_WARM_WINDOW = 165  # steps until a detector's window holds none of the learning-rate warm-up


def faulty_steps(steps: int, seed: int) -> dict[int, str]:
    """Return which steps (from 1) get a spoilt batch, and how it is spoilt.

    Of a long run the steps near 40, 55 and 70 %; of a shorter one later ones, so that the detectors'
    window holds no step of the learning-rate warm-up any more.
    """
    generator = random.Random(f"faults {seed}")  # a text seed is hashed the same on every platform
    spread = max(1, steps // 40)
    first = max(0.4 * steps, min(_WARM_WINDOW, 0.55 * steps))
    apart = max(0.15 * steps, (0.7 * steps - first) / 2)
    places = [round(first + i * apart) + generator.randint(-spread, spread) for i in range(len(_FAULTS))]
    return {step: fault for step, fault in zip(places, _FAULTS, strict=True) if 1 <= step <= steps}


def demo_text() -> bytes:
    """Return the language reference that ships with CPython, as bytes; it differs between versions."""
    from pydoc_data.topics import topics

    return "\n".join(topics[name] for name in sorted(topics)).encode()


def train_demo(
    runs: Path,
    steps: int,
    seed: int,
    on_step: Callable[[int, dict[str, Any]], None] = lambda step, logs: None,
    on_alert_line: Callable[[str], None] | None = None,
) -> StoredRun:
    """Train the demonstration model and record it.

    `seed` is that of the weights, the data order and the places of the faults; `on_step` is called after
    each step with its number and what the Trainer last logged, `on_alert_line` with each alert as text.
    MissingExtraError where torch or transformers are not installed.
    """
    faults = faulty_steps(steps, seed)
    trainer = demo_trainer(steps, seed, faults)
    import torch
    from thermograd.ingest.huggingface import ThermogradCallback
    from thermograd.ingest.run import start_run

    run = start_run(
        "demo",
        runs,
        simulate=None if torch.cuda.is_available() else "restricted",
        on_alert_line=on_alert_line,
        card=False,
        facts=_facts(trainer, steps, seed, faults),
    )
    with run:
        trainer.add_callback(ThermogradCallback(run=run))
        trainer.add_callback(_callbacks(on_step, run, faults))
        trainer.train()
    if run.path is None:
        raise MissingExtraError("recording is off or impossible (see the warning above); there is no run")
    return StoredRun(run.path)


def record_devices(
    runs: Path, duration_s: float, stream_layer: Callable[[Path], Any] | None = None
) -> StoredRun:
    """Sample this machine's devices (and a simulated GPU, where there is no other) for a while."""
    from thermograd.ingest.agent.agent import run_agent
    from thermograd.ingest.job.facts import run_facts

    run = create_run(runs, "demo-without-training", run_facts())
    layer = stream_layer(run.path) if stream_layer is not None else None
    run_agent(run.path, 5.0, 0, "restricted", layer, duration_s)
    return StoredRun(run.path)


def _facts(trainer: Any, steps: int, seed: int, faults: dict[int, str]) -> dict[str, Any]:
    text = demo_text()
    return {
        "model": {
            "class": f"{type(trainer.model).__name__}, byte level, from scratch",
            "parameters": sum(p.numel() for p in trainer.model.parameters()),
        },
        "data": {"text": "pydoc_data.topics", "bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()},
        "max_steps": steps,
        "seed": seed,
        "injected": {str(step): fault for step, fault in faults.items()},
    }


def demo_trainer(steps: int, seed: int, faults: dict[int, str]) -> Any:
    """Return the Trainer of the demonstration job, not recorded yet; MissingExtraError as `train_demo`."""
    try:
        import torch
        import transformers
    except ImportError as error:
        raise MissingExtraError(
            f"the demo trains a model and needs {error.name}: install thermograd[train], or use --no-train"
        ) from error
    transformers.logging.set_verbosity_error()
    transformers.set_seed(seed)
    torch.set_num_threads(max(1, min(4, (os.cpu_count() or 2) - 1)))  # a core is left for everything else
    config = transformers.GPT2Config(
        vocab_size=256,
        n_positions=_CONTEXT,
        n_embd=128,
        n_layer=4,
        n_head=4,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
    )
    arguments = transformers.TrainingArguments(
        output_dir="unused",
        max_steps=steps,
        per_device_train_batch_size=_BATCH,
        learning_rate=2e-3,
        adam_beta1=0.9,
        adam_beta2=0.95,
        weight_decay=0.1,
        warmup_steps=30,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": 0.1},
        max_grad_norm=1.0,
        logging_steps=10,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        seed=seed,
    )
    trainer = transformers.Trainer(
        model=transformers.GPT2LMHeadModel(config),
        args=arguments,
        train_dataset=_text_dataset(torch, demo_text(), seed, faults),
    )
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def _text_dataset(torch: Any, text: bytes, seed: int, faults: dict[int, str]) -> Any:
    """Return endless windows of the text; every `_BATCH` of them are one step, faulty steps are spoilt."""
    data = torch.frombuffer(bytearray(text), dtype=torch.uint8).long()

    class Windows(torch.utils.data.IterableDataset):  # type: ignore[misc]
        def __iter__(self) -> Iterator[dict[str, Any]]:
            generator = torch.Generator().manual_seed(seed)
            step = 0
            while True:
                step += 1
                for _ in range(_BATCH):
                    start = int(torch.randint(len(data) - _CONTEXT, (), generator=generator))
                    window = data[start : start + _CONTEXT]
                    if faults.get(step) == "noise":
                        window = torch.randint(256, (_CONTEXT,), generator=generator)
                    elif faults.get(step) == "one byte":
                        window = torch.full((_CONTEXT,), int(window[0]))
                    yield {"input_ids": window, "labels": window}

    return Windows()


def _callbacks(on_step: Callable[[int, dict[str, Any]], None], run: Any, faults: dict[int, str]) -> Any:
    """Return a callback that hands each step on and marks each spoilt batch before it is trained on."""
    import transformers

    class Demo(transformers.TrainerCallback):  # type: ignore[misc]
        logs: dict[str, Any] = {}  # noqa: RUF012 - replaced, never changed

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            self.logs = dict(logs or {})

        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            step = state.global_step + 1
            if step in faults:
                run.mark("injection", step=step, text=f"a batch of {faults[step]}, on purpose")

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            on_step(state.global_step, self.logs)

    return Demo()
