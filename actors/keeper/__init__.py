"""The keeper: a small program that is the parent of every run and outlives the worker.

    worker --socket--> server ----> keeper      requests of the worker
                       protocol        |
                                       |--> spawner --> spawn            fork, record, exec
                                       |                run_resources    temp dir, cgroup
                                       |--> runs    the runs in table, from start to forgotten
                                       |     |----> output     pipe -> bounded files
                                       |     |----> control    the engine hears of its cancel,
                                       |     |                 and says how it ended (engine_words)
                                       |     |----> ending     signal, grace period, SIGKILL
                                       |     |                 process_scan, cgroup, procfs
                                       |     `----> helpers    children that do what may block
                                       `--> recovery    runs of a former keeper

``program`` starts it and ``loop`` runs it. ``constants``, ``protocol``, ``files``, ``cgroup``,
``process_scan`` and ``output_reader`` also serve the worker.

It uses the standard library only and has one thread. It imports everything at its start, so an
upgrade of these files changes nothing for a keeper that runs.
"""
