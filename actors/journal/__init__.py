"""Adapter: what survives the worker, a folder for each claim in the state folder that it locks."""
