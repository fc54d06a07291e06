"""The worker: a coordinator that claims and settles, and children that run handlers."""
