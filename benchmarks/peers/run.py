"""Run by a peer's own Python: `python -m benchmarks.peers.run PEER install` or `… PEER measure ENQUEUE DRAIN`."""

from __future__ import annotations

import importlib
import json
import sys

from .peer import Peer, measure

if __name__ == "__main__":
    importlib.import_module(f"benchmarks.peers.{sys.argv[1]}")
    (kind,) = Peer.__subclasses__()
    if sys.argv[2] == "install":
        kind().install()
    else:
        print(json.dumps(measure(kind(), int(sys.argv[3]), int(sys.argv[4]))))
