import itertools
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from django_jobs import ids
from django_jobs.exceptions import InvalidDefinition
from django_jobs.ids import new_id, new_ids, parse_id


def test_an_id_is_a_uuid_of_version_seven():
    for _ in range(1000):
        parsed = uuid.UUID(text := new_id())
        assert str(parsed) == text
        assert parsed.version == 7
        assert parsed.variant == uuid.RFC_4122


def test_an_id_begins_with_the_time_in_milliseconds():
    before = time.time_ns() // 1_000_000
    stamp = uuid.UUID(new_id()).int >> 80
    assert before - 1 <= stamp <= time.time_ns() // 1_000_000 + 1000  # ids made in a burst run ahead of the clock


def test_ids_rise_within_a_process():
    made = [new_id() for _ in range(20_000)]
    assert all(a < b for a, b in itertools.pairwise(made))


def test_many_ids_rise_too_and_others_come_after_them():
    made = [new_id(), *new_ids(1000), new_id(), *new_ids(2), new_id()]
    assert all(a < b for a, b in itertools.pairwise(made))
    assert {uuid.UUID(text).version for text in made} == {7}
    assert {uuid.UUID(text).variant for text in made} == {uuid.RFC_4122}
    assert new_ids(0) == []


def test_ids_rise_while_the_clock_stands_still_or_steps_back(monkeypatch):
    clock = iter([5_000_000_000_000_000_000, 5_000_000_000_000_000_000, 4_000_000_000_000_000_000])
    monkeypatch.setattr(ids, "_last", 0)
    monkeypatch.setattr(ids, "now_ns", lambda: next(clock))
    first, second, third = new_id(), new_id(), new_id()
    assert first < second < third


def test_threads_never_make_the_same_id_and_each_sees_its_own_rise():
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: [new_id() for _ in range(2000)], range(4)))
    for each in made:
        assert all(a < b for a, b in itertools.pairwise(each))
    assert len({i for each in made for i in each}) == 8000


def test_an_id_may_be_given_in_every_form_of_a_uuid():
    canonical = "01900000-0000-7000-8000-0000000000aa"
    for form in (canonical, canonical.upper(), canonical.replace("-", ""), f"{{{canonical}}}", uuid.UUID(canonical)):
        assert parse_id(form) == canonical


@pytest.mark.parametrize("value", ["", "1", None, 5, b"x" * 16, "g" * 32, object()])
def test_what_is_no_uuid_is_refused(value):
    with pytest.raises(InvalidDefinition, match=r"^uuid: "):
        parse_id(value, "uuid")
