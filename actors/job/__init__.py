"""Pure: from a template, its variables and an environment to the job of one run."""
