import gc

import pytest
from django.db import connections


@pytest.fixture(autouse=True, scope="module")
def no_open_connections():
    """Tests of other folders may have left some; here nothing may touch a database."""
    connections.close_all()


@pytest.fixture
def handlers(settings):
    """Register handlers for one test: `handlers({"key": HandlerClass})`."""

    def use(mapping):
        settings.JOBS = {**settings.JOBS, **mapping}

    return use


@pytest.fixture
def no_collector():
    """What is raised within a callback of the collector, such as Hypothesis has, Python tells of and drops."""
    gc.disable()
    yield
    gc.enable()
