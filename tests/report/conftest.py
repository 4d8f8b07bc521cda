import synthetic
from pytest import fixture

# `synthetic` is found because pytest puts a test file's folder on the path.


@fixture(scope="session")
def results():
    return synthetic.results()
