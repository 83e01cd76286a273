"""Adapter: what survives the worker. One folder per run, in the state folder that it locks."""
