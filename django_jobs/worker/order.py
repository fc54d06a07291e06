"""Which queues a worker serves, and which of them it looks at first. Rules without I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ..exceptions import InvalidDefinition
from ..names import QUEUE, check_queue, shown

HEAVIEST = 1000
FORGET_LOOKS = 300
"""How often in a row a queue of a prefix may be found without jobs, once in two seconds, before it is forgotten: each
that is known costs a query in every turn, and those of tenants or of days come and go.
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a worker was told to serve: a queue, or with `is_prefix` every queue whose name starts so.

    `weight` is its share beside the others; None where none was given.
    """

    name: str
    is_prefix: bool = False
    weight: int | None = None

    @classmethod
    def parse(cls, text: str) -> Asked:
        """`mail`, `mail:3`, `mail.*`, `mail.*:3` or `*`. Raises `InvalidDefinition`."""
        name, colon, share = text.partition(":")
        weight = None
        if colon:
            weight = int(share) if share.isascii() and share.isdigit() and len(share) <= 4 else 0
            if not 1 <= weight <= HEAVIEST:
                raise InvalidDefinition(f"weight: {shown(share)} is not a whole number from 1 to {HEAVIEST}.")
        if name.endswith("*"):
            prefix = name[:-1]
            if prefix and not QUEUE.fullmatch(prefix):
                raise InvalidDefinition(f"queue: {shown(name)} is no prefix of a queue's name. A '*' is its end.")
            return cls(prefix, True, weight)
        return cls(check_queue(name), False, weight)

    def __str__(self) -> str:
        return f"{self.name}*" if self.is_prefix else self.name

    def fits(self, queue: str) -> bool:
        """Whether this asks for `queue`. A prefix does not for what is no queue's name: nobody can have enqueued there,
        and names are printed as they are.
        """
        if self.is_prefix:
            return queue.startswith(self.name) and QUEUE.fullmatch(queue) is not None
        return queue == self.name


@dataclass(slots=True)
class Order:
    """The queues of a worker, in the order in which it looks at them.

    Strict, unless `fair` is set or a weight is given: what comes first is served as long as it has jobs. Else the
    queues that have jobs share the worker by the number of jobs, each by its weight (1, unless one is given). A queue
    that had none gets no more than its share afterwards: what it did not use is not saved.
    """

    asked: Sequence[Asked]
    fair: bool = False
    names: list[str] = field(default_factory=list)
    """The queues that are known, in the order in which they were asked for."""
    _weights: dict[str, int] = field(default_factory=dict)
    _expected: dict[str, None] = field(default_factory=dict)
    _idle: dict[str, int] = field(default_factory=dict)  # looks without a job, of what prefixes have found
    _due: dict[str, float] = field(default_factory=dict)
    _now: float = 0.0

    def __post_init__(self) -> None:
        self.fair = self.fair or any(asked.weight is not None for asked in self.asked)
        self.learn([])

    @classmethod
    def of(cls, *names: str) -> Order:
        """Strict order."""
        return cls([Asked.parse(name) for name in names])

    @property
    def is_open(self) -> bool:
        """Whether queues may be found that it does not know yet."""
        return any(asked.is_prefix for asked in self.asked)

    def expect(self, queues: Iterable[str]) -> None:
        """These queues may always get jobs; those that were asked for are served, and not forgotten."""
        self._expected.update(dict.fromkeys(queues))
        self.learn([])

    def learn(self, queues: Iterable[str]) -> bool:
        """These queues have jobs; those that were asked for are served from now on. Answers whether any is new.

        One that only a prefix asks for is forgotten when it has had none for long.
        """
        idle = {name: looks + 1 for name, looks in self._idle.items() if looks + 1 < FORGET_LOOKS}
        self._idle = idle | dict.fromkeys(queues, 0)
        known = dict.fromkeys([*self._expected, *self._idle])
        found: dict[str, int] = {}
        for asked in self.asked:
            for name in known if asked.is_prefix else [asked.name]:
                if asked.fits(name):
                    found.setdefault(name, asked.weight or 1)
        is_new = not found.keys() <= self._weights.keys()
        self.names, self._weights = list(found), found
        self._due = {name: due for name, due in self._due.items() if name in found}
        return is_new

    def look(self) -> list[str]:
        """The queues in the order of the next look."""
        if not self.fair:
            return self.names
        return sorted(self.names, key=lambda name: max(self._due.get(name, 0.0), self._now))

    def took(self, name: str, jobs: int) -> None:
        """A look at this queue brought so many jobs."""
        if jobs and name in self._idle:
            self._idle[name] = 0
        if self.fair and jobs:
            # Start-time fair queueing: each queue has its next turn when the jobs it got, over its weight, have passed.
            start = max(self._due.get(name, 0.0), self._now)
            self._now = start
            self._due[name] = start + jobs / self._weights[name]
