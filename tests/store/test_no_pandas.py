"""Commands load no pandas for pyarrow; whoever imports it by name has it."""

import subprocess
import sys

import pytest

pytest.importorskip("pandas")
PROGRAM = """
import sys
from thermograd.store.lazy_names import keep_pandas_out
keep_pandas_out()
import pyarrow.dataset
pyarrow.array(["a", None]).to_pylist()
print("pandas" in sys.modules)
__name__ = "program"
import pandas
print(pandas.DataFrame({"a": [1]}).size)
"""


def test_pyarrow_finds_no_pandas_and_a_program_does() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)

    assert done.stdout.split() == ["False", "1"]
