"""Other queues beside ours, at the same work, in one run.

    python -m benchmarks.peers [django_jobs pgqueuer huey …] [--store postgresql|sqlite|redis] [--python python3.13]

Each peer has a file here that is run by the Python of an environment of its own (`.peers/<name>`, made from
`requirements/<name>.txt`), configured as its documentation advises, with the durability that its store has by default.
All are measured in turn, round after round: how fast a client enqueues, one by one and in bulk, and how fast two
processes drain no-op jobs.
"""
