"""Adapter to the operating system: the client of the keeper, and the memory of process trees."""
