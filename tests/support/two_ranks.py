"""A job of two processes on the CPU: run as a script by `test_ddp`; writes what the log must hold.

Each phase trains a few steps in one style and writes ``<phase>-<rank>.json``: the run's id and, a step,
this rank's loss and the norm of the gradient averaged over both ranks, computed in double precision by a
plain model that sees both ranks' data.
"""

import json
import os
import sys
from pathlib import Path

import thermograd
import torch
import torch.distributed as dist
from shadow_models import Pulser
from thermograd.ingest.experiment.arms.arm import Refusal
from torch.nn.parallel import DistributedDataParallel

RANK = int(os.environ["RANK"])
OUT = Path(sys.argv[1])


def make_model(dtype=torch.float32):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3))
    return model.to(dtype)


def loss_of(model, step, rank, dtype=torch.float32):
    data = torch.randn(4, 6, generator=torch.Generator().manual_seed(10 * step + rank)).to(dtype)
    return model(data).square().mean() * 50


def reference(weights, step):
    """Return this rank's loss and the norm of the mean gradient, by their definitions."""
    model = make_model(torch.float64)
    model.load_state_dict(weights)
    losses = [loss_of(model, step, rank, torch.float64) for rank in range(2)]
    gradients = torch.autograd.grad(sum(losses) / 2, list(model.parameters()))
    return losses[RANK].item(), sum(float((g**2).sum()) for g in gradients) ** 0.5


def plain_weights(model):
    """Return the whole model's weights, whatever it is wrapped in."""
    full = {}
    for name, value in model.state_dict().items():
        value = value.full_tensor() if hasattr(value, "full_tensor") else value
        full[name.removeprefix("module.")] = value.double()
    return full


def train(phase, model, clip, weights=plain_weights):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    expected = []
    with thermograd.start_run(phase, runs=OUT / "runs", agent=False) as run:
        run.watch(optimizer)
        for step in range(3):
            expected.append(reference(weights(model), step))
            loss_of(model, step, RANK).backward()
            clip(model)
            optimizer.step()
            optimizer.zero_grad()
    (OUT / f"{phase}-{RANK}.json").write_text(json.dumps({"run": run.run_id, "expected": expected}))


def clip_by_torch(model):
    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)


def fsdp1_weights(model):
    from torch.distributed.fsdp import FullyShardedDataParallel

    with FullyShardedDataParallel.summon_full_params(model):
        return {
            n.removeprefix("_fsdp_wrapped_module."): p.detach().double().clone()
            for n, p in model.named_parameters()
        }


class Communicating(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = make_model()

    def forward(self, x):
        dist.all_reduce(x)
        return self.layer(x)


def shadowed(model, is_pulsed):
    """Train with DDP, gradients added up over two passes; return what it came to, pulses, a refusal."""
    torch.manual_seed(RANK)
    model = DistributedDataParallel(model, find_unused_parameters=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    pulse, losses, refused = Pulser([optimizer]), [], None
    for step in range(8):
        for part in range(2):
            model.require_backward_grad_sync = part == 1
            loss = loss_of(model, 2 * step + part, RANK)
            loss.backward()
            losses.append(loss.item())
        optimizer.step()
        try:
            if is_pulsed and refused is None:
                pulse()
        except Refusal as refusal:
            refused = str(refusal)
        optimizer.zero_grad()
    state = [value.tolist() for value in model.state_dict().values()]
    return [losses, state, torch.get_rng_state().tolist()], len(pulse.done), refused


def shadow_phase():
    def with_statistics():
        return torch.nn.Sequential(torch.nn.BatchNorm1d(6), torch.nn.Dropout(0.2), make_model())

    without, (pulsed, pulses, _) = shadowed(with_statistics(), False)[0], shadowed(with_statistics(), True)
    plain, (trained, _, refused) = shadowed(Communicating(), False)[0], shadowed(Communicating(), True)
    told = {"is_equal": pulsed == without, "pulses": pulses, "losses": pulsed[0], "refused": refused}
    told["is_equal_where_refused"] = trained == plain
    (OUT / f"shadow-{RANK}.json").write_text(json.dumps(told))


def main():
    dist.init_process_group("gloo")
    for phase, clip in (("ddp-clipped", clip_by_torch), ("ddp", lambda model: None)):
        train(phase, DistributedDataParallel(make_model()), clip)
    shadow_phase()
    train_longer("without", None)
    train_longer("duty", {"arm": "duty", "block_steps": 2, "start_step": 5, "duty": 0.2})
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard

    mesh = init_device_mesh("cpu", (2,))
    for phase, clip in (("fsdp2-clipped", clip_by_torch), ("fsdp2", lambda model: None)):
        model = make_model()
        fully_shard(model[0], mesh=mesh)
        fully_shard(model, mesh=mesh)
        train(phase, model, clip)
    model = make_model()
    fully_shard(model[2], mesh=mesh)
    part = DistributedDataParallel(model[0])  # a replicated part beside a sharded one
    train("mixed", torch.nn.Sequential(part, model[1], model[2]), lambda model: None, mixed_weights)
    sharded = FullyShardedDataParallel(make_model(), device_id=torch.device("cpu"), use_orig_params=True)
    train("fsdp1-clipped", sharded, lambda model: model.clip_grad_norm_(0.5), fsdp1_weights)
    dist.destroy_process_group()


def train_longer(phase, experiment):
    """Write the losses of a training of some steps, which an experiment is done to or not."""
    model = DistributedDataParallel(make_model())
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    losses = []
    with thermograd.start_run(phase, runs=OUT / "runs", agent=False, experiment=experiment) as run:
        run.watch(optimizer)
        for step in range(16):
            loss = loss_of(model, step, RANK)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    (OUT / f"{phase}-{RANK}.json").write_text(json.dumps({"run": run.run_id, "expected": losses}))


def mixed_weights(model):
    return {name.replace("module.", ""): value for name, value in plain_weights(model).items()}


if __name__ == "__main__":
    main()
