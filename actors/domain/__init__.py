"""What the worker knows and decides: pure data and pure functions, no I/O and no clock."""
