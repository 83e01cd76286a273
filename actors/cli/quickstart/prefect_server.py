"""A Prefect server on the listening socket whose descriptor is the argument.

Run by the interpreter that has Prefect. It differs from ``prefect server start`` in two points.
Nobody else can listen on its port while it starts. And it waits 2 s for SQLite's write lock, not
60: its event loop can wait for a database connection that a thread uses while that waits for the
lock, and no request is answered until then. After that the server answers 503.
"""

import socket
import sys

import uvicorn
from prefect.server.api.server import create_app
from sqlalchemy import event
from sqlalchemy.pool import Pool


def wait_less_for_locks(connection, *_):
    """Set the limit whenever a connection is taken: Prefect sets its own on a new one."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout = 2000")  # milliseconds
    cursor.close()


def main():
    """Serve until SIGTERM."""
    event.listen(Pool, "checkout", wait_less_for_locks)
    listener = socket.socket(fileno=int(sys.argv[1]))
    config = uvicorn.Config(create_app(), log_level="warning", timeout_keep_alive=5)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
