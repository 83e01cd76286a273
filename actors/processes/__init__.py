"""Adapter to the operating system: the keeper of all runs, and what the worker says to it."""
