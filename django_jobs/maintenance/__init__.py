"""What keeps the store healthy: reaping, cleaning up, counting."""
