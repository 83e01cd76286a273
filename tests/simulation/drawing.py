"""Draws the plan of a seed.

What was added later is drawn from random numbers of its own, so that old seeds keep their plans.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

from actors.domain.record import Phase
from actors.testing.state_rules import OnFull

from .plan import Act, Bug, FaultRates, Plan, PlannedRun, Program, Sort
from .stream import StreamFaults

BUGS = (
    "claim",
    "report",
    "look",
    "history",
    "pid",
    "labels",
    "prepare",
    "spawn",
    "watch",
    "end_tree",
    "forget",
    "note",
)

SERVICES = (
    "poller",
    "dispatcher",
    "heartbeater",
    "cancellation_watcher",
    "health_reporter",
    "event_emitter",
    "log_shipper",
)

MORE_SERVICES = (*SERVICES, "memory_watcher", "journal_pruner")


def draw(seed: int) -> Plan:
    """The plan of ``seed``."""
    plan = _draw(Random(seed))
    more = Random(f"{seed}/more")
    runs = tuple(_more_of(run, more) for run in plan.runs)
    if more.random() < 0.02:
        runs += tuple(_one_of_a_crowd(more, number) for number in range(len(runs), 40))
    more_acts = (
        *_more_acts(more, plan.calm_at),
        *_disk_acts(Random(f"{seed}/acts"), plan.calm_at),
    )
    acts = sorted((*plan.acts, *more_acts), key=lambda act: act.at)
    plan = replace(
        plan,
        runs=runs,
        acts=tuple(acts),
        fault_rates=replace(plan.fault_rates, late=more.choice((0.0, 0.0, 0.02, 0.1))),
        measures=more.random() < 0.6,
        reuses_pids=more.random() < 0.5,
        overtaken=more.choice((0.0, 0.0, 0.0, 0.2, 0.5)),
        killed_when_ending=more.random() < 0.15,
    )
    plan = _with_bad_exits(plan, Random(f"{seed}/exits"))
    plan = _with_stream(plan, Random(f"{seed}/stream"))
    return with_bugs(plan, Random(f"{seed}/bugs"))


def _with_stream(plan: Plan, rng: Random) -> Plan:
    """The plan with an event stream, as good or bad as streams are, for three of four workers."""
    cuts = [
        Act(rng.uniform(0.5, plan.calm_at), "cut_stream", None, rng.choice((0.0, 0.5, 30.0)))
        for _ in range(rng.choice((0, 0, 1, 2, 4)))
    ]
    if rng.random() < 0.3:
        what = rng.choice(("fail_service", "doze_service"))
        cuts.append(Act(rng.uniform(0.5, plan.calm_at), what, "event_subscriber", 5.0))
    faults = StreamFaults(
        lost=rng.choice((0.0, 0.0, 0.1, 0.5, 1.0)),
        late=rng.choice((0.0, 0.0, 0.2)),
        twice=rng.choice((0.0, 0.2)),
        refused=rng.choice((0.0, 0.0, 0.3)),
    )
    acts = tuple(sorted((*plan.acts, *cuts), key=lambda act: act.at))
    return replace(plan, acts=acts, stream=faults, listens=rng.random() < 0.75)


def _with_bad_exits(plan: Plan, rng: Random) -> Plan:
    def drawn(program: Program) -> Program:
        return replace(program, ends_badly=rng.random() < 0.2)

    runs = tuple(replace(run, program=drawn(run.program)) for run in plan.runs)
    return replace(plan, runs=runs)


def with_bugs(plan: Plan, rng: Random) -> Plan:
    """The plan for a worker that is not as right as it should be."""
    if rng.random() < 0.6:
        return plan
    runs = tuple(
        replace(run, program=replace(run.program, bug=_bug(rng))) if rng.random() < 0.25 else run
        for run in plan.runs
    )
    return replace(plan, runs=runs, surprises=rng.choice((0.0, 0.02, 0.1)))


def _bug(rng: Random) -> Bug:
    return rng.choice(BUGS), rng.choice(("before", "after"))


def _draw(rng: Random) -> Plan:
    deployments = tuple(
        (rng.choice((None, None, 1, 1, 2, 0)), rng.choice(list(OnFull)))
        for _ in range(rng.randint(0, 2))
    )
    calm_at = rng.uniform(60.0, 240.0)
    runs = tuple(
        _run(rng, number, calm_at, len(deployments)) for number in range(rng.randint(1, 6))
    )
    return Plan(
        version=rng.choice(("3.0.11", "3.1.15", "3.8.8", "3.8.8")),
        limit=rng.choice((None, 1, 2, 3)),
        query_seconds=rng.choice((5.0, 10.0)),
        on_deadline=rng.choice(("terminate", "leave")),
        calm_at=calm_at,
        deployments=deployments,
        runs=runs,
        acts=tuple(sorted(_acts(rng, calm_at, runs), key=lambda act: act.at)),
        fault_rates=_fault_rates(rng, calm_at),
        kills_at_effects=tuple(rng.randint(5, 150) for _ in range(rng.choice((0, 0, 1, 2, 3)))),
    )


def _run(rng: Random, number: int, calm_at: float, deployments: int) -> PlannedRun:
    sort: Sort = rng.choice(("engine", "engine", "engine", "reporting", "plain", "bad"))
    variables: dict[str, Any] = {"grace_seconds": rng.choice((2, 10, 30))}
    if sort in ("reporting", "plain"):
        variables["command"] = "make report"
    if sort == "reporting":
        variables["report_states"] = True
    if sort == "bad":
        variables["command"] = rng.choice(("echo 'unclosed", "frobnicate"))
    if rng.random() < 0.15:
        variables["timeout_seconds"] = rng.randint(3, 60)
    return PlannedRun(
        name=f"r{number}",
        at=rng.choice((0.0, rng.uniform(0.0, calm_at))),
        early=rng.choice((0.0, 0.0, rng.uniform(0.0, 30.0))),
        deployment=rng.choice((None, *range(deployments))),
        queue=rng.choice(("default", "default", "other")),
        variables=variables,
        program=_program(rng, sort),
    )


def _more_of(run: PlannedRun, rng: Random) -> PlannedRun:
    variables = dict(run.variables)
    if rng.random() < 0.15:
        variables["kill_signal"] = 2
    if rng.random() < 0.1:
        variables["memory_limit_mb"] = 100
    program = replace(
        run.program,
        holds_mb=rng.choice((50.0, 50.0, 300.0)),
        prints=rng.choice((0, 0, 0, 0, 0, 0, 0, 2, 5, 300)),
    )
    return replace(run, variables=variables, program=program)


def _one_of_a_crowd(rng: Random, number: int) -> PlannedRun:
    """One of many runs at once, to see what grows with their number."""
    program = Program(
        sort="engine",
        outcome=rng.choice(("completes", "completes", "completes", "fails")),
        boot=1.0,
        work=rng.uniform(3.0, 10.0),
        code=1,
        on_signal="dies",
    )
    return PlannedRun(
        name=f"r{number}",
        at=0.0,
        early=rng.uniform(0.0, 30.0),
        deployment=None,
        queue="default",
        variables={},
        program=program,
    )


def _program(rng: Random, sort: Sort) -> Program:
    return Program(
        sort=sort,
        outcome=rng.choice(("completes", "completes", "fails", "crashes", "sleeps")),
        boot=rng.choice((0.0, 1.0, 4.0)),
        work=rng.uniform(3.0, 60.0),
        code=rng.choice((1, 3, -9, -11, 137)),
        on_signal=rng.choice(("dies", "crashed", "cancels", "ignores", "slow")),
        lingers=rng.choice((0.0, 0.0, 0.0, rng.uniform(0.5, 20.0))),
    )


def _acts(rng: Random, calm_at: float, runs: tuple[PlannedRun, ...]) -> list[Act]:
    def when() -> float:
        return rng.uniform(0.5, calm_at)

    acts = [
        Act(when(), what, rng.randrange(len(runs)))
        for what, chance in (
            ("cancel", 0.35),
            ("delete_run", 0.05),
            ("force", 0.08),
            ("retry", 0.08),
            ("take_away", 0.08),
        )
        for _ in runs
        if rng.random() < chance
    ]
    rare = (
        ("delete_deployment", 0.08, 0),
        ("pause", 0.15, None),
        ("kill", 0.45, None),
        ("kill", 0.25, None),
        ("reboot", 0.1, None),
        ("keeper_dies", 0.2, None),
        ("keeper_away", 0.2, None),
        ("disk_full", 0.25, None),
        ("lose_record", 0.06, None),
        ("drain", 0.15, None),
        ("fail_supervisor", 0.3, None),
        ("doze_supervisor", 0.3, None),
    )
    acts += [
        Act(when(), what, target, rng.uniform(1.0, 60.0))
        for what, chance, target in rare
        if rng.random() < chance
    ]
    acts += [
        Act(when(), what, rng.choice(SERVICES), rng.uniform(0.5, 8.0))
        for what in ("fail_service", "doze_service")
        for _ in range(rng.choice((0, 0, 1, 2)))
    ]
    return acts


def _more_acts(rng: Random, calm_at: float) -> list[Act]:
    return [
        Act(rng.uniform(0.5, calm_at), what, None, rng.uniform(5.0, 60.0))
        for what, chance in (
            ("reexec", 0.15),
            ("memory_short", 0.2),
            ("measure_fails", 0.1),
            ("kernel_kill", 0.15),
        )
        if rng.random() < chance
    ] + [
        Act(rng.uniform(0.5, calm_at), what, rng.choice(MORE_SERVICES), rng.uniform(0.5, 8.0))
        for what in ("fail_service", "doze_service")
        if rng.random() < 0.3
    ]


def _disk_acts(rng: Random, calm_at: float) -> list[Act]:
    """A disk that is stuck for a moment, or for longer than anybody waits."""
    if rng.random() >= 0.2:
        return []
    phase = rng.choice((None, Phase.CLAIMING, Phase.SPAWNING, Phase.RUNNING, Phase.REPORTING))
    seconds = rng.choice((1.0, 5.0, 15.0, 60.0))
    return [Act(rng.uniform(0.0, calm_at), "disk_stuck", phase, seconds)]


def _fault_rates(rng: Random, calm_at: float) -> FaultRates:
    rough = rng.choice((0.0, 0.03, 0.1, 0.3))
    outages = []
    for _ in range(rng.choice((0, 0, 1, 2))):
        start = rng.uniform(0.0, calm_at)
        kind = rng.choice(("unavailable", "unavailable", "deaf", "unauthorized", "forbidden"))
        outages.append((start, start + rng.uniform(1.0, 60.0), kind))
    return FaultRates(
        lost=rough * rng.random(),
        unanswered=rough * rng.random(),
        garbled=0.3 * rough * rng.random(),
        slow=rough * rng.random(),
        repeated=rough * rng.random(),
        keeper_lost=rng.choice((0.0, 0.0, 0.05, 0.2)),
        late=0.0,
        outages=tuple(outages),
    )
