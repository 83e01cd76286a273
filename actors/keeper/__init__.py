"""The keeper: a small program that is the parent of every run and outlives the worker.

Standard library only, single-threaded, nothing of the rest of the house. Everything is imported
at the start, so an upgrade of the files below a living keeper changes nothing for it.
"""
