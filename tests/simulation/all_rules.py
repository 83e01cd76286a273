"""Every rule, by the occasion on which it is asked."""

from __future__ import annotations

from . import endings, hearing, hooks, invariants, settled, writes
from .rules import Rules

RULES = Rules(
    at_rest=(
        invariants.spawned_at_most_once_per_claim,
        invariants.one_process_per_run,
        invariants.never_more_than_the_limit,
        invariants.slots_are_exact,
        invariants.settled_runs_leave_nothing_alive,
        invariants.the_worker_lives,
        invariants.mailboxes_are_bounded,
        invariants.output_is_not_kept,
        invariants.nothing_is_signalled_after_a_reboot,
        endings.what_must_end_is_ended,
        hooks.hooks_end_in_time,
        hearing.the_streams_end_is_noticed,
        hearing.nobody_relies_on_an_unproved_stream,
        hearing.one_subscription_at_most,
    ),
    on_write=(
        writes.no_end_is_overwritten,
        writes.claimed_only_what_is_recorded,
        writes.submitting_follows_our_claim,
        writes.force_only_where_allowed,
        writes.a_transition_is_made_once,
        endings.exits_are_told_as_they_were,
        endings.nothing_is_put_over_a_receipt,
        hooks.note_our_crash,
    ),
    on_spawn=(
        invariants.spawned_only_what_is_ours,
        invariants.spawned_only_what_is_recorded,
    ),
    on_hooks=(hooks.hooks_follow_our_end,),
    on_save=(
        invariants.nothing_is_claimed_without_memory,
        endings.the_reason_is_the_true_one,
        endings.the_end_is_told_by_its_reason,
        endings.what_is_ours_has_a_reason_in_the_end,
    ),
    on_order=(
        endings.only_what_must_end_is_ended,
        endings.it_is_ended_as_its_job_says,
    ),
    at_end=(
        settled.each_exit_is_an_event,
        settled.a_cancelled_run_ends_cancelled,
        hooks.hooks_run_after_each_crash,
        settled.an_end_that_was_overwritten_is_put_back,
    ),
)
