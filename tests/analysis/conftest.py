"""What the tests of the analysis share."""

from collections.abc import Iterator

import pytest
import scipy.linalg  # noqa: F401  # its BLAS is another than numpy's, and must be there to be limited
from threadpoolctl import threadpool_limits


@pytest.fixture(scope="module", autouse=True)
def _one_blas_thread() -> Iterator[None]:
    """Give BLAS one thread, as our commands do: the tests run side by side, and cores differ in number."""
    with threadpool_limits(1, user_api="blas"):
        yield
