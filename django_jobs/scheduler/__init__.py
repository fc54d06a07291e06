"""The schedule: its entries, when they are due, and what runs them."""
