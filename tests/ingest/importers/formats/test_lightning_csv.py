"""The metrics.csv of Lightning's CSVLogger, which has steps and no clock."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from importing import imported, refused, written
from thermograd.ingest.importers.recording import Hints
from thermograd.ingest.importers.registry import recognise

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's own, of many kinds
TIMED = Hints("2026-11-24T10:00:00Z", 0.5)
_START_NS = 1795514400 * 10**9
_COLUMNS = {
    "loss": "train_loss_step",
    "grad_norm": "grad_2.0_norm_total",
    "learning_rate": "lr-AdamW",
    "epoch": "epoch",
}


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that Lightning's CSVLogger wrote: 3 epochs of 10 steps, logged every 5th."""
    lightning = pytest.importorskip("lightning.pytorch")
    torch = pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("logged")

    class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self, rate: float = 0.125, api_key: str = "sk-0123456789abcdefghij") -> None:
            super().__init__()
            self.save_hyperparameters()
            self.layer = torch.nn.Linear(2, 1)

        def training_step(self, batch: Any, number: int) -> Any:
            loss = self.layer(batch).square().mean()
            self.log("train_loss", loss, on_step=True, on_epoch=True)
            self.log("grad_2.0_norm_total", 1.0 + number)
            return loss

        def validation_step(self, batch: Any, _: int) -> None:
            self.log("val_loss", self.layer(batch).square().mean())

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), lr=0.125)

    data = torch.utils.data.DataLoader(torch.ones(10, 2), batch_size=1)
    lightning.Trainer(
        max_epochs=3,
        logger=lightning.loggers.CSVLogger(folder, name="", version=""),
        callbacks=[lightning.callbacks.LearningRateMonitor()],
        log_every_n_steps=5,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    ).fit(Module(), data, data)
    return folder


def test_every_value_is_the_one_that_pandas_reads(logged: Path, tmp_path: Path) -> None:
    found = imported(tmp_path, logged, hints=TIMED)
    table = pd.read_csv(logged / "metrics.csv")
    theirs = table.groupby("step")[list(_COLUMNS.values())].first().dropna(how="all")
    rows = found.rows("step")
    assert [row["step"] for row in rows] == theirs.index.tolist() == [0, 4, 9, 10, 14, 19, 20, 24, 29]
    for name, tag in _COLUMNS.items():
        ours = [math.nan if row[name] is None else row[name] for row in rows]
        assert ours == pytest.approx(theirs[tag].tolist(), rel=1e-15, nan_ok=True)
    assert [row["time_ns"] for row in rows] == [_START_NS + (row["step"] + 1) * 5 * 10**8 for row in rows]
    metrics = found.rows("metric")
    for name in ("val_loss", "train_loss_epoch"):
        known = table[["step", name]].dropna()
        theirs = dict(zip(known["step"].tolist(), known[name].tolist(), strict=True))
        assert {row["step"]: row["value"] for row in metrics if row["name"] == name} == theirs
        assert len(theirs) == 3
    account = found.result["account"]
    assert account["read"] == len(table)
    assert account["left_out"] == 0


def test_the_hyperparameters_beside_it_are_the_configuration(logged: Path, tmp_path: Path) -> None:
    found = imported(tmp_path, logged, hints=TIMED)
    assert found.run.facts["config"] == {"rate": 0.125, "api_key": "<redacted>"}
    assert not any("hparams" in text for text in found.result["ignored"])


def test_hyperparameters_that_need_pythons_own_types_are_not_read(tmp_path: Path) -> None:
    path = written(tmp_path / "metrics.csv", "epoch,loss,step\n0,2.0,0\n")
    written(tmp_path / "hparams.yaml", "model: !!python/object/apply:os.system ['exit 1']\n")
    found = imported(tmp_path, path, hints=TIMED)
    assert "config" not in found.run.facts
    assert any("no configuration: it is no plain YAML" in text for text in found.result["ignored"])


def test_without_a_start_the_refusal_shows_what_to_type(logged: Path, tmp_path: Path) -> None:
    message = refused(tmp_path, logged / "metrics.csv")
    assert "Lightning's metrics.csv has steps but no times, so it is no time series" in message
    assert "metrics.csv --started-at 2026-11-24T10:00:00Z --step-time 0.5" in message
    only_started = refused(tmp_path, logged / "metrics.csv", hints=TIMED._replace(step_time_s=None))
    assert "does not say how long a step took; say so: thermograd import" in only_started


def test_torn_rows_and_odd_cells_cost_no_more_than_themselves(tmp_path: Path) -> None:
    text = "epoch,step,train_loss\n0,0,2.5\n0,x,2.0\n0,1\n0,2,ERR\n0,3,nan\n0,3,nan\n0,4,1.0\n0,5,1.2"
    found = imported(tmp_path, written(tmp_path / "metrics.csv", text), hints=TIMED)
    losses = [(row["step"], str(row["loss"])) for row in found.rows("step")]
    assert losses == [(0, "2.5"), (3, "nan"), (4, "1.0")]
    assert found.result["nulls"] == {"loss is ERR": 1}
    assert [(row["name"], row["step"]) for row in found.rows("metric")] == [("epoch", 2)]
    assert found.result["left_out"] == {
        "torn row: step is not a whole number >= 0": 1,
        "torn row: not as many cells as the header": 1,
        "exact duplicate of another row": 1,
        "torn row: the file ends in mid-line": 1,
    }


@pytest.mark.parametrize(
    ("header", "theirs"),
    [
        ("epoch,step,train_loss", True),
        ("loss,step", True),
        ("step,loss", False),
        ("step,timestamp", False),
        ("epoch,loss,step,wall_time", False),
        ("device,loss,step", False),
        ("step,step", False),
        ("step", False),
        ("epoch,loss", False),
    ],
)
def test_a_table_is_lightnings_by_its_ordered_columns(tmp_path: Path, header: str, theirs: bool) -> None:
    cells = ",".join("1" for _ in header.split(","))
    assert (
        recognise(written(tmp_path / "a.csv", f"{header}\n{cells}\n"))[1] == "a Lightning metrics.csv"
    ) is theirs
