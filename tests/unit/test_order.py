"""Which queues a worker serves, and in which order it looks at them."""

from __future__ import annotations

from collections import Counter

import pytest

from django_jobs.exceptions import InvalidDefinition
from django_jobs.worker.order import FORGET_LOOKS, Asked, Order


def order(*texts: str, fair: bool = False) -> Order:
    return Order([Asked.parse(text) for text in texts], fair=fair)


def served(of: Order, waiting: dict[str, int], room: int, looks: int) -> Counter[str]:
    """How many jobs each queue had served, where each look has `room` for so many."""
    done: Counter[str] = Counter()
    for _ in range(looks):
        left = room
        for name in of.look():
            n = min(left, waiting.get(name, 0))
            waiting[name] = waiting.get(name, 0) - n
            of.took(name, n)
            done[name] += n
            left -= n
            if not left:
                break
    return done


@pytest.mark.parametrize(
    ("text", "name", "is_prefix", "weight"),
    [
        ("mail", "mail", False, None),
        ("mail:3", "mail", False, 3),
        ("mail.*", "mail.", True, None),
        ("mail*:12", "mail", True, 12),
        ("*", "", True, None),
    ],
)
def test_what_may_be_asked(text, name, is_prefix, weight):
    assert Asked.parse(text) == Asked(name, is_prefix, weight)


@pytest.mark.parametrize(
    "text", ["", "Mail", "mail:", "mail:0", "mail:-1", "mail:x", "mail:1001", "mail:٣", "*.mail", "a*b", ".*", "a:1:2"]
)
def test_what_may_not_be_asked(text):
    with pytest.raises(InvalidDefinition):
        Asked.parse(text)


def test_strict_order_serves_the_first_as_long_as_it_has_jobs():
    strict = order("b", "a")
    assert strict.look() == ["b", "a"]
    assert served(strict, {"a": 100, "b": 25}, room=10, looks=5) == {"b": 25, "a": 25}
    assert strict.look() == ["b", "a"]


def test_fair_order_takes_turns():
    fair = order("a", "b", "c", fair=True)
    seen = []
    for _ in range(6):
        name = fair.look()[0]
        seen.append(name)
        fair.took(name, 1)
    assert seen == ["a", "b", "c", "a", "b", "c"]


def test_fair_order_counts_jobs_and_not_looks():
    fair = order("a", "b", fair=True)
    fair.took("a", 10)
    for _ in range(10):
        assert fair.look()[0] == "b"
        fair.took("b", 1)
    assert fair.look() == ["a", "b"]


def test_a_queue_without_jobs_costs_its_neighbours_no_turn():
    fair = order("a", "b", "c", fair=True)
    assert served(fair, {"a": 1000, "c": 1000}, room=1, looks=100) == {"a": 50, "b": 0, "c": 50}


def test_what_a_queue_did_not_use_is_not_saved():
    fair = order("a", "b", fair=True)
    served(fair, {"a": 1000}, room=10, looks=100)
    assert served(fair, {"a": 1000, "b": 1000}, room=10, looks=20) == {"a": 100, "b": 100}


def test_weights_share_by_jobs():
    weighted = order("a:3", "b")
    assert weighted.fair
    done = served(weighted, {"a": 10_000, "b": 10_000}, room=4, looks=100)
    assert done.total() == 400
    assert done["a"] == pytest.approx(300, abs=4)


def test_a_prefix_is_every_queue_that_starts_so_in_the_order_of_asking():
    some = order("now", "mail.*")
    assert some.is_open
    assert some.names == ["now"]
    assert some.learn(["mail.de", "other", "mail.at", "mailing"])
    assert some.names == ["now", "mail.de", "mail.at"]
    assert not some.learn(["mail.at"])
    assert some.learn(["mail.ch"])
    assert some.names == ["now", "mail.de", "mail.at", "mail.ch"]


def test_a_queue_of_a_prefix_that_has_had_no_job_for_long_is_forgotten():
    some = order("now", "mail.*", fair=True)
    some.expect(["mail.expected", "other"])
    some.learn(["mail.de", "mail.at", "mail.ch"])
    some.took("mail.de", 100)
    for _ in range(FORGET_LOOKS):
        assert not some.learn(["mail.at"])
        some.took("mail.ch", 1)  # its jobs are gone before anybody looks
    assert some.names == ["now", "mail.expected", "mail.at", "mail.ch"]
    assert some.look()[0] != "mail.de"
    assert some.learn(["mail.de"]), "it is back"
    assert "mail.de" in some.look()


def test_names_of_queues_that_come_and_go_do_not_pile_up():
    some = order("*", fair=True)
    for n in range(10 * FORGET_LOOKS):
        some.learn([f"tenant-{n}"])
        some.took(f"tenant-{n}", 1)
    assert len(some.names) <= FORGET_LOOKS + 1
    assert len(some._due) <= FORGET_LOOKS + 1


def test_a_queue_has_the_weight_of_what_asks_for_it_first():
    some = order("mail.de:5", "mail.*:2", "*")
    some.learn(["mail.de", "mail.at", "default"])
    assert some.names == ["mail.de", "mail.at", "default"]
    done = served(some, dict.fromkeys(some.names, 10_000), room=1, looks=800)
    assert done == {"mail.de": 500, "mail.at": 200, "default": 100}


def test_names_alone_are_never_added_to():
    some = order("a", "b")
    assert not some.is_open
    assert not some.learn(["c"])
    assert some.names == ["a", "b"]
    assert [str(asked) for asked in order("a", "mail.*:2", "*").asked] == ["a", "mail.*", "*"]


def test_a_prefix_takes_nothing_that_is_no_queues_name() -> None:
    """A row that somebody has edited may have any text as its queue."""
    order = Order([Asked.parse("*")])
    assert order.learn(["mail", "evil\x1b[2J\n[acked] mail", "mail\n", "x" * 65])
    assert order.names == ["mail"]
