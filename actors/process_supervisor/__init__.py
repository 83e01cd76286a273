"""One flow run, from its claim to its last report: the actor that supervises it, and its parts.

A run's way from the poll to its process. Each numbered line is a mailbox message that the run
waits for; what an actor does with it stands under it::

    Poller              asks the server for due runs; meanwhile the Dispatcher asks the Guardian
                        whether the worker is draining, and whether the disk takes records
      1 DueRuns         -> Dispatcher: gives the run a slot, starts its supervisor

    ProcessSupervisor   takes Begun; saves the record (phase CLAIMING)
      2 SaveEnded          proposes Pending                                  -> server
      3 ProposalAnswered   the run is ours: reads deployment, flow, blocks   -> server
      4 PreparedJob        keeps the order for the keeper; saves (SPAWNING)
      5 SaveEnded          gives the order to spawn                          -> keeper

    ProcessIdentity     tells the server the pid; starts the timeout (RUNNING)
    ProcessExited       finds the reason, reports the end, frees the slot (REPORTING)
    TreeEnded           with the report answered: settles (OVER); Dispatcher: RunSettled

What happens to a run is a stimulus (``machine/stimuli.py``); what is to be done about it is an
effect (``machine/effects.py``). In between only the machine decides:

=========================  ====================================================================
``process_supervisor.py``  the actor: passes stimuli to ``step()``, has effects carried out
``machine/step.py``        the one table: which stimulus is decided where
``machine/beginning.py``   claim, prepare, spawn
``machine/ending.py``      cancel (the grace period), exit (the reason), report (the verdict)
``machine/hooks.py``       hooks that the engine could not run
``machine/adoption.py``    what a successor does first
``journaling.py``          which effects wait for which record
``effect_handler.py``      carries effects out; a wait's result is the next stimulus
``reporting.py``           proposes states, one at a time, after a look at the server
``retries.py``             what is tried again after a failure, and how often
``preparation.py``         the job
``hooks.py``               runs such hooks under the keeper
``output.py``              what is shown of the output
=========================  ====================================================================

With ``poller/poller.py``, ``dispatcher/dispatcher.py`` and ``dispatcher/admission.py`` before it,
and ``app/job_preparer.py`` and ``processes/launcher.py`` behind it, a reader follows a run from
poll to process through twelve files.
"""
