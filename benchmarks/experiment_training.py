"""A real training on the CPU for an experiment: a small language model of this project's own texts.

thermograd experiment --arm duty --block 40 --seed 1 -- python benchmarks/experiment_training.py --minutes 22

The training knows nothing of experiments; it ends after a number of minutes, between two steps. What came of
it stands in EXPERIMENT.md.
"""

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor, nn

_WINDOW, _BATCH, _WIDTH = 128, 24, 192


class ByteModel(nn.Module):
    """Predicts the next byte: three layers of a causal transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = nn.Embedding(256, _WIDTH)
        self.places = nn.Embedding(_WINDOW, _WIDTH)
        layer = nn.TransformerEncoderLayer(_WIDTH, 4, 4 * _WIDTH, dropout=0.1, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(_WIDTH, 256)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(_WINDOW))

    def forward(self, text: Tensor) -> Tensor:
        """Return the logits of each next byte, shape (batch, window, 256)."""
        hidden = self.bytes(text) + self.places(torch.arange(_WINDOW))
        return self.head(self.layers(hidden, mask=self.mask, is_causal=True))


def train(minutes: float, seed: int, threads: int) -> None:
    """Train for so long."""
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    root = Path(__file__).parent.parent
    pages = sorted([*root.glob("*.md"), *(root / "docs").glob("*.md")])
    data = torch.tensor(list(b"\n".join(page.read_bytes() for page in pages)))
    model = ByteModel()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    ends_at = time.monotonic() + 60 * minutes
    step = 0
    while time.monotonic() < ends_at:
        begins = torch.randint(0, len(data) - _WINDOW - 1, (_BATCH,))
        text = torch.stack([data[i : i + _WINDOW + 1] for i in begins.tolist()])
        loss = nn.functional.cross_entropy(model(text[:, :-1]).flatten(0, 1), text[:, 1:].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.3f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=22.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    train(given.minutes, given.seed, given.threads)
