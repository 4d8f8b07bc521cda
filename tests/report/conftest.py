"""The made-up study; `synthetic` is found because pytest puts this folder on the path."""

import pytest
import synthetic


@pytest.fixture(scope="session")
def results():
    return synthetic.results()
