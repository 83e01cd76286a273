"""The commands, and what makes a worker a program: logs, signals, re-exec, systemd."""
