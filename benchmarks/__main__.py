"""`python -m benchmarks`: runs benchmarks, and prints a table for each."""

from __future__ import annotations

import argparse
import importlib
import json

from . import __doc__ as about
from .harness import measure
from .site import sites

NAMES = ("enqueue", "drain", "isolation", "pickup", "idle", "growth", "schedule")
MORE_SITES = {"growth": ("_short", "_long", "_old")}


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="benchmarks", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(NAMES)}; default: all")
    parser.add_argument("--database", choices=["postgresql", "mysql", "sqlite"], default="postgresql")
    parser.add_argument("--rounds", type=int, help="default: each benchmark's own number")
    parser.add_argument("--quick", action="store_true", help="one round of a tenth: shows that it runs, not how fast")
    parser.add_argument("--json", action="store_true", help="print every round's figures instead of tables")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(NAMES):
        parser.error(f"there is no benchmark {min(unknown)!r}")
    found = []
    for name in asked.names or NAMES:
        with sites(asked.database, *MORE_SITES.get(name, ())) as places:
            benchmark = importlib.import_module(f"benchmarks.{name}")  # now that Django is set up
            rounds = asked.rounds or (1 if asked.quick else benchmark.ROUNDS)
            title = f"{name}, {asked.database}, medians of {rounds} rounds"
            found.append(measure(title, benchmark.contenders(*places, quick=asked.quick), rounds))
        if not asked.json:
            print(found[-1].table(), end="\n\n", flush=True)
    if asked.json:
        print(json.dumps([results.as_json() for results in found], indent=1))


if __name__ == "__main__":
    main()
