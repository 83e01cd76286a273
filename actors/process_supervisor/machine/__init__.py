"""Pure: (run, stimulus) -> (run, effects). What follows from what happens to a run."""
