"""`fit` of Keras 3 with torch below it, where it is installed."""

import os

import pytest
from thermograd.store.log.reader import read_kind
from thermograd.store.runs.catalogue import list_runs

pytest.importorskip("torch")


def test_fit_is_recorded(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "torch"))
    keras = pytest.importorskip("keras")
    from thermograd.ingest.keras import ThermogradCallback

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.05, global_clipnorm=0.5, gradient_accumulation_steps=2), "mse")
    x = keras.random.normal((32, 4), seed=1)
    callback = ThermogradCallback(runs=tmp_path)
    history = model.fit(
        x, x[:, :1], batch_size=4, epochs=2, verbose=0, validation_split=0.5, callbacks=[callback]
    )
    (run,) = list_runs(tmp_path)
    rows = read_kind(run.path, "step").to_pylist()
    assert [(row["step"], row["epoch"]) for row in rows] == [(1, 0.5), (2, 1.0), (3, 1.5), (4, 2.0)]
    means = [sum(row["loss"] for row in rows[n : n + 2]) / 2 for n in (0, 2)]
    assert means == pytest.approx(history.history["loss"], rel=1e-5)
    assert all(row["grad_norm"] > 0 and row["max_grad_norm"] == 0.5 for row in rows)
    metrics = {(m["step"], m["name"]): m["value"] for m in read_kind(run.path, "metric").to_pylist()}
    assert metrics[4, "epoch/val_loss"] == pytest.approx(history.history["val_loss"][1])
    assert callback.run is None
