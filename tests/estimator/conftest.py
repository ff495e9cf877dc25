"""What the tests of the estimators share."""

from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(autouse=True, scope="session")
def _one_blas_thread() -> Iterator[None]:
    """Keep scikit-learn from spinning a second thread over matrices of a few hundred numbers."""
    with threadpool_limits(1):
        yield
