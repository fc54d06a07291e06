"""One signal at each of many instants of a worker's life, from before Django is loaded until after the drain."""

from __future__ import annotations

from pathlib import Path

import pytest

from django_jobs.backends.database import DatabaseBackend
from tests.support.lives import hangups_at, terms_at

pytestmark = [pytest.mark.torture, pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)]


OTHERS = [("--all",), ("default", "--isolation", "inline")]


@pytest.mark.parametrize("part", range(5))
def test_a_stop_at_each_of_200_instants(queue: DatabaseBackend, proof: Path, part: int) -> None:
    print(dict(terms_at(queue, proof, instants=40, seed=200 + part)))


def test_a_reload_at_each_of_20_instants(queue: DatabaseBackend, proof: Path) -> None:
    print(dict(hangups_at(queue, proof, instants=20, seed=20)))


@pytest.mark.parametrize("arguments", OTHERS)
def test_a_stop_at_each_of_50_instants_of_other_workers(
    queue: DatabaseBackend, proof: Path, arguments: tuple[str, ...]
) -> None:
    print(dict(terms_at(queue, proof, instants=50, seed=50, arguments=arguments)))


@pytest.mark.parametrize("arguments", OTHERS)
def test_a_reload_at_each_of_20_instants_of_other_workers(
    queue: DatabaseBackend, proof: Path, arguments: tuple[str, ...]
) -> None:
    print(dict(hangups_at(queue, proof, instants=20, seed=21, arguments=arguments)))
