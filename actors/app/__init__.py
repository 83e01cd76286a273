"""What a person starts: the command line, its settings and logs, and the whole system."""
