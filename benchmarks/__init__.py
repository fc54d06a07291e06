"""Benchmarks: what a job costs, beside the least that the same store makes it cost.

    python -m benchmarks [drain enqueue growth idle pickup] [--database sqlite|postgresql|mysql] [--quick] [--json]

One file per benchmark. Each measures its contenders in turn, round after round, in one run, and tells every figure as a
ratio to the first contender's, the bare minimum: only ratios mean something on another machine. `benchmarks.peers`
measures other queues beside ours.
"""
