"""The live view of `--show=tui`: a process of its own, which coordinators feed and never wait for."""
