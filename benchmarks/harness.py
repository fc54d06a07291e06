"""What all benchmarks share: contenders measured in turn, medians, ratios, a table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median

Figures = dict[str, float]
"""What one measurement found, by the figure's name, which says its unit."""
Contenders = Mapping[str, Callable[[], Figures]]
"""What is compared: each call measures once. The first is what the others are a ratio to."""


@dataclass
class Results:
    """What each contender measured, a list of figures for each round."""

    title: str
    rounds: dict[str, list[Figures]] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        """The contender that the ratios are to."""
        return next(iter(self.rounds))

    def names(self) -> list[str]:
        """The figures that any contender measured, in the order in which they appeared."""
        return list(dict.fromkeys(name for rounds in self.rounds.values() for seen in rounds for name in seen))

    def median(self, contender: str, figure: str) -> float | None:
        """The median of the rounds; None where the contender does not measure this figure."""
        values = [seen[figure] for seen in self.rounds[contender] if figure in seen]
        return median(values) if values else None

    def ratio(self, contender: str, to: str, figure: str) -> float | None:
        """The median of each round's ratio: what disturbs a round disturbs both. None where one is missing or zero."""
        pairs = [(a.get(figure), b.get(figure)) for a, b in zip(self.rounds[contender], self.rounds[to], strict=True)]
        ratios = [a / b for a, b in pairs if a is not None and b]
        return median(ratios) if ratios else None

    def table(self) -> str:
        """One line per contender; each figure is followed by its ratio to the reference's."""
        names = self.names()
        width = max(len(contender) for contender in self.rounds)
        columns = [max(len(name), 18) for name in names]
        lines = [self.title, "  ".join([" " * width, *(n.rjust(w) for n, w in zip(names, columns, strict=True))])]
        for contender in self.rounds:
            cells = [self._cell(contender, name).rjust(w) for name, w in zip(names, columns, strict=True)]
            lines.append("  ".join([contender.ljust(width), *cells]))
        return "\n".join(lines)

    def _cell(self, contender: str, figure: str) -> str:
        value = self.median(contender, figure)
        if value is None:
            return "-"
        ratio = None if contender == self.reference else self.ratio(contender, self.reference, figure)
        return shown(value) + (f" {ratio:6.2f} x" if ratio is not None else " " * 9)

    def as_json(self) -> dict[str, object]:
        """Every round, for `--json`."""
        ratios = {
            contender: {name: self.ratio(contender, self.reference, name) for name in self.names()}
            for contender in self.rounds
        }
        return {"title": self.title, "reference": self.reference, "rounds": self.rounds, "ratios": ratios}


def measure(title: str, contenders: Contenders, rounds: int) -> Results:
    """Measure each contender once in every round, in turn."""
    results = Results(title, {name: [] for name in contenders})
    for number in range(1, rounds + 1):
        for name, act in contenders.items():
            seen = act()
            results.rounds[name].append(seen)
            figures = ", ".join(f"{figure} {shown(value)}" for figure, value in seen.items())
            print(f"  round {number} of {rounds}: {name}: {figures}", file=sys.stderr, flush=True)
    return results


def shown(value: float) -> str:
    """A figure with three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
