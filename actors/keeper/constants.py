"""Names that the keeper and the worker's side of it share: files, variables, protocol version."""

from __future__ import annotations

PROTOCOL = 2
"""Version of the protocol on the socket, the only one that this keeper speaks."""
WITHOUT_PROOF = 1
"""The version of keepers that ask for no proof. A worker still speaks it, since they hold runs."""

PROVE = "prove"
UNPROVED = "unproved"
"""Answers to a hello: without the descriptor of the locked WORKER_LOCK, and with a wrong one."""

COULD_NOT_START = "could not start"
NOT_NOW = "not now"
"""Why nothing was spawned: the order is wrong, or the state folder's disk takes no record."""

SOCKET = "keeper.sock"
LOCK = "keeper.lock"
WORKER_LOCK = "worker.lock"
LOG = "keeper.log"
RUNS = "runs"

RECORD_FORMAT = 1
"""Version of the two files that follow. Files of other versions are not read."""

PROCESS_FILE = "process.json"
"""Identity of a run's process. Created exclusively, by the process itself, before it execs."""
EXIT_FILE = "exit.json"
"""How the process ended, and whether its tree is gone."""
CONCLUSION_FILE = "conclusion.json"
"""What the engine said came of its run, before its process ended."""
FORGOTTEN_FILE = "forgotten"
"""Empty; present once the worker has dropped the run from the keeper's table."""
OUTPUT_PREFIX = "output-"
"""Output segments are ``output-<offset of their first byte in the stream>``."""

MARKER = "ACTOR_WORKER_RUN"
"""The variable that carries the claim's key into every process of a run."""

OURS = "ACTOR_WORKER_"
NOT_FOR_RUNS = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")
NOT_FOR_RUNS_PREFIXES = (OURS, "LISTEN_")
"""systemd's variables for the worker itself (sd_notify(3), sd_listen_fds(3)), and our own."""

CONTROL_PORT = "PREFECT__CONTROL_PORT"
CONTROL_TOKEN = "PREFECT__CONTROL_TOKEN"
"""The engine's control channel."""

READY = b"ready\n"
BUSY = b"busy\n"
"""What a starting keeper writes to its ready pipe: it listens, or another one holds the lock."""
