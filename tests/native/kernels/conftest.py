import pytest

from flwr_byzantine.native import kernels


@pytest.fixture(scope="session", autouse=True)
def compiled() -> None:
    if not kernels.available():
        pytest.skip("the package was installed without a C++ compiler, or the kernels are switched off")
