from django.db import connections

from django_jobs.worker.template import close_connections


def test_pools_of_connections_are_closed_before_a_fork(monkeypatch):
    """Their threads stay in the parent, so that a child would wait for ever for a connection."""
    closed = []
    monkeypatch.setattr(connections["default"], "close_pool", lambda: closed.append("default"), raising=False)
    close_connections()
    assert closed == ["default"]
