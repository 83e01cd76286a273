"""The actor that polls for due flow runs, and its search for runs that a poll hides."""
