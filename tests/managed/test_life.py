"""The engine's life as a script: events and a clock in, wishes and what faces see out. No daemon is asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.containers.base import Container, DaemonUnreachable, PortTaken
from app.containers.life import Happening, LifeWish, Stage
from app.engine.base import Loaded
from app.engine.host import HostPhase, HostState, Processor, Progress
from app.managed.faults import EngineCrashed
from app.managed.life import (
    Answers,
    Died,
    Drifted,
    EngineLife,
    Event,
    GivenUp,
    Heard,
    Impossible,
    Lost,
    PullEnds,
    Pulls,
    Remake,
    Rests,
    Rises,
    Start,
    Stop,
    WayMoved,
)
from app.managed.names import LABEL_DIGEST, LABEL_REFERENCE
from app.managed.processor import FIX, PROBLEM

NAME = "mortdecai-ollama"
EXITED = Container(
    id="1", name=NAME, image="i", image_id="sha256:1", status="exited", exit_code=1,
    labels={LABEL_REFERENCE: "ollama/ollama:latest", LABEL_DIGEST: "sha256:abc"},
    out_of_memory=False, error="", started_at="", ports={}, networks=(),
)  # fmt: skip
RUNS = replace(EXITED, status="running", exit_code=0)
UP = Answers(RUNS, Processor.GPU, closed=True, isolated=True)
CRASH = EngineCrashed("The engine ended by itself. Read the end of its log.")
GONE = DaemonUnreachable("Docker is not running. Start it.")
COMES = Progress("Downloading Ollama", 1, 2)


def loaded(vram_b: int) -> Heard:
    return Heard((Loaded("m", "", 100, vram_b, ""),))


class Script:
    """One engine; each line tells it something and says what it wishes."""

    def __init__(self, *events: Event) -> None:
        self.life = EngineLife(NAME, (0.5, 2.0, 5.0))
        self.now_s = 0.0
        for event in events:
            self.tell(event)

    def tell(self, event: Event, after_s: float = 1.0) -> tuple[LifeWish, ...]:
        self.now_s += after_s
        return self.life.told(event, self.now_s)

    @property
    def state(self) -> HostState:
        return self.life.state


RUNNING = (Start(), Rises(EXITED), UP)


def shown(phase: HostPhase, **more: object) -> HostState:
    """A state of the container above."""
    said = {"container": NAME, "image": "ollama/ollama:latest", "digest": "sha256:abc", **more}
    return HostState(phase, **said)  # type: ignore[arg-type]


RUNS_WELL = shown(HostPhase.RUNNING, processor=Processor.GPU, isolated=True)
RESTARTS = shown(HostPhase.STARTING, problem="The engine ended by itself.", fix="Read the end of its log.")
NO_DOCKER = {"problem": "Docker is not running.", "fix": "Start it."}

# The story so far, what happens now, what is to be done, where it stands, and what faces see.
ROWS = {
    "a start": (
        (),
        Start(),
        (LifeWish.BRING_UP,),
        Stage.RISING,
        HostState(HostPhase.STARTING, container=NAME),
    ),
    "its image is pulled": (
        (Start(), Rises()),
        Pulls(COMES),
        (),
        Stage.RISING,
        HostState(HostPhase.PULLING, container=NAME, progress=COMES),
    ),
    "its container is there": (
        (Start(), Rises(), Pulls(COMES)),
        Rises(EXITED),
        (),
        Stage.RISING,
        shown(HostPhase.STARTING),
    ),
    "it answers": ((Start(), Rises(EXITED)), UP, (), Stage.UP, RUNS_WELL),
    "one that runs is adopted, and the looking is not shown": (RUNNING, Rises(RUNS), (), Stage.UP, RUNS_WELL),
    "a start of what runs looks again": (RUNNING, Start(), (LifeWish.BRING_UP,), Stage.UP, RUNS_WELL),
    "one that is found dead is being started": (
        RUNNING,
        Rises(EXITED),
        (),
        Stage.UP,
        shown(HostPhase.STARTING),
    ),
    "it ends by itself": (RUNNING, Died(CRASH), (LifeWish.TRY_AGAIN,), Stage.RISING, RESTARTS),
    "the third end": (
        (*RUNNING, Died(CRASH), UP, Died(CRASH), UP),
        Died(CRASH),
        (LifeWish.TRY_AGAIN,),
        Stage.RISING,
        RESTARTS,
    ),
    "the fourth end is said with its log, and nothing before that": (
        (*RUNNING, Died(CRASH), Died(CRASH), Died(CRASH), UP),
        Died(CRASH),
        (LifeWish.GIVE_UP,),
        Stage.FAILED,
        RUNS_WELL,
    ),
    "given up": (
        (*RUNNING, Impossible(CRASH)),
        GivenUp(CRASH, ("its log",)),
        (),
        Stage.FAILED,
        replace(RESTARTS, phase=HostPhase.FAILED, log_tail=("its log",)),
    ),
    "a start after a failure forgets it": (
        (*RUNNING, Impossible(CRASH), GivenUp(CRASH, ("its log",))),
        Start(),
        (LifeWish.BRING_UP,),
        Stage.RISING,
        shown(HostPhase.STARTING),
    ),
    "what cannot be done": (
        (Start(), Rises()),
        Impossible(PortTaken("Port 1 is taken")),
        (LifeWish.GIVE_UP,),
        Stage.FAILED,
        HostState(HostPhase.STARTING, container=NAME),
    ),
    "no daemon": (
        (Start(), Rises()),
        Lost(GONE),
        (LifeWish.AWAIT_DAEMON,),
        Stage.AWAY,
        HostState(HostPhase.ABSENT, container=NAME, problem="Docker is not running.", fix="Start it."),
    ),
    "the daemon goes away": (
        RUNNING,
        Lost(GONE),
        (LifeWish.AWAIT_DAEMON,),
        Stage.AWAY,
        shown(HostPhase.ABSENT, **NO_DOCKER),
    ),
    "the daemon comes back": (
        (*RUNNING, Lost(GONE)),
        Happening.FOUND,
        (LifeWish.BRING_UP,),
        Stage.RISING,
        shown(HostPhase.ABSENT, **NO_DOCKER),
    ),
    "it answers again": ((*RUNNING, Lost(GONE), Happening.FOUND, Rises(RUNS)), UP, (), Stage.UP, RUNS_WELL),
    "a stop": (RUNNING, Stop(), (LifeWish.CALL_OFF,), Stage.REST, RUNS_WELL),
    "it has stopped": ((*RUNNING, Stop()), Rests(EXITED), (), Stage.REST, shown(HostPhase.STOPPED)),
    "it was removed": (
        (*RUNNING, Stop()),
        Rests(None),
        (),
        Stage.REST,
        HostState(HostPhase.ABSENT, container=NAME),
    ),
    "a start said while it stops stands": (
        (*RUNNING, Stop(), Start()),
        Rests(EXITED),
        (),
        Stage.RISING,
        shown(HostPhase.STOPPED),
    ),
    "a stop without a daemon waits for none": (
        (*RUNNING, Stop()),
        Lost(GONE),
        (),
        Stage.REST,
        shown(HostPhase.ABSENT, **NO_DOCKER),
    ),
    "a hint while it is wanted": (RUNNING, Happening.HINT, (LifeWish.LOOK,), Stage.UP, RUNS_WELL),
    "a hint after a stop": (
        (*RUNNING, Stop(), Rests(EXITED)),
        Happening.HINT,
        (),
        Stage.REST,
        shown(HostPhase.STOPPED),
    ),
    "an update is pulled while it runs": (
        RUNNING,
        Pulls(COMES),
        (),
        Stage.UP,
        replace(RUNS_WELL, progress=COMES),
    ),
    "its pull ends": ((*RUNNING, Pulls(COMES)), PullEnds(RUNS_WELL), (), Stage.UP, RUNS_WELL),
    "a pull for one that is stopped leaves it as it was": (
        (*RUNNING, Stop(), Rests(EXITED), Pulls(COMES)),
        PullEnds(shown(HostPhase.STOPPED)),
        (),
        Stage.REST,
        shown(HostPhase.STOPPED),
    ),
    "an end during a pull is not undone by the pull's": (
        (*RUNNING, Pulls(COMES), Died(CRASH)),
        PullEnds(RUNS_WELL),
        (),
        Stage.RISING,
        RESTARTS,
    ),
    "an update of what runs is wanted afterwards": (RUNNING, Remake(keep=True), (), Stage.RISING, RUNS_WELL),
    "an update of what rests is only tried": (
        (*RUNNING, Stop(), Rests(EXITED)),
        Remake(keep=False),
        (),
        Stage.TRIAL,
        shown(HostPhase.STOPPED),
    ),
    "the tried one answers": ((Remake(keep=False), Rises(EXITED)), UP, (), Stage.TRIAL, RUNS_WELL),
    "the tried one rests again": (
        (Remake(keep=False), Rises(EXITED), UP),
        Rests(EXITED),
        (),
        Stage.REST,
        shown(HostPhase.STOPPED),
    ),
    "an update of one that failed brings it back": (
        (*RUNNING, Impossible(CRASH), GivenUp(CRASH)),
        Remake(keep=False),
        (),
        Stage.RISING,
        replace(RESTARTS, phase=HostPhase.FAILED),
    ),
    "a way out": (RUNNING, WayMoved(isolated=False), (), Stage.UP, replace(RUNS_WELL, isolated=False)),
    "other settings": (
        RUNNING,
        Drifted(("engine_gpu",)),
        (),
        Stage.UP,
        replace(RUNS_WELL, drift=("engine_gpu",)),
    ),
    "drift outlives an end": (
        (*RUNNING, Drifted(("engine_gpu",))),
        Died(CRASH),
        (LifeWish.TRY_AGAIN,),
        Stage.RISING,
        replace(RESTARTS, drift=("engine_gpu",)),
    ),
    "a model beside the GPU is looked into": (RUNNING, loaded(0), (LifeWish.CHECK,), Stage.UP, RUNS_WELL),
    "a model on the GPU is as it should be": (RUNNING, loaded(100), (), Stage.UP, RUNS_WELL),
    "nothing loaded says nothing": (RUNNING, Heard(()), (), Stage.UP, RUNS_WELL),
    "what is heard of one that does not run": (
        RUNNING[:2],
        loaded(0),
        (),
        Stage.RISING,
        shown(HostPhase.STARTING),
    ),
    "a sleep": (RUNNING, Happening.DOUBT, (LifeWish.CHECK,), Stage.UP, RUNS_WELL),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_what_happens_now_leads_to_wishes_and_to_what_faces_see(
    row: tuple[tuple[Event, ...], Event, tuple[LifeWish, ...], Stage, HostState],
) -> None:
    before, event, wishes, stage, state = row
    script = Script(*before)
    script.life.trust.started(Processor.GPU)
    assert (script.tell(event), script.life.life.stage, script.state) == (wishes, stage, state)


def test_ends_ten_minutes_apart_are_forgiven_by_the_clock_that_is_handed_in() -> None:
    script = Script(*RUNNING)
    for _ in range(20):
        assert script.tell(Died(CRASH), after_s=200.0) == (LifeWish.TRY_AGAIN,)
        script.tell(UP)
    assert script.tell(Died(CRASH)) == (LifeWish.GIVE_UP,)


def test_a_gpu_that_is_lost_is_said_and_one_that_is_seen_at_work_ends_it() -> None:
    script = Script(Start(), Rises(EXITED))
    script.life.trust.started(Processor.GPU)
    script.tell(replace(UP, processor=Processor.FALLBACK))
    assert (script.state.processor, script.state.problem, script.state.fix) == (
        Processor.FALLBACK,
        PROBLEM,
        FIX,
    )
    assert script.tell(loaded(0)) == (), "it is known already"
    assert script.tell(loaded(100)) == ()
    assert script.state == RUNS_WELL


def test_the_cure_is_tried_once_until_a_person_starts_it_or_the_gpu_is_seen_at_work() -> None:
    script = Script(*RUNNING)
    trust = script.life.trust
    trust.started(Processor.GPU)

    def cures() -> list[bool]:
        return [trust.cure(Processor.FALLBACK, if_unknown=False) for _ in range(2)]

    assert cures() == [True, False]
    script.tell(Start())
    assert cures() == [True, False]
    script.tell(loaded(100))
    assert cures() == [True, False]
    assert not trust.cure(Processor.UNKNOWN, if_unknown=False)
    assert trust.cure(Processor.UNKNOWN, if_unknown=True), "after a sleep, where nothing tells"


def test_after_a_sleep_the_log_of_the_last_start_is_no_evidence_until_the_next_one() -> None:
    script = Script(*RUNNING)
    trust = script.life.trust
    trust.started(Processor.GPU)
    assert trust.log_counts
    script.tell(Happening.DOUBT)
    assert not trust.log_counts
    trust.started(Processor.GPU)
    assert trust.log_counts


def test_no_evidence_is_needed_where_no_gpu_is_expected() -> None:
    script = Script(*RUNNING)
    script.life.trust.started(Processor.CPU)
    assert script.life.trust.as_meant is Processor.CPU
    assert script.tell(loaded(0)) == ()


def test_before_the_first_start_nothing_is_expected_nothing_counts_and_the_cure_is_to_be_tried() -> None:
    life = EngineLife(NAME, (0.5,))
    assert (life.trust.as_meant, life.trust.log_counts, life.closed) == (Processor.UNKNOWN, False, False)
    assert life.trust.cure(Processor.FALLBACK, if_unknown=False)


def test_whether_its_network_is_closed_is_remembered_from_the_last_answer() -> None:
    script = Script(*RUNNING)
    assert script.life.closed
    script.tell(replace(UP, closed=False))
    assert not script.life.closed


def test_a_container_that_was_removed_is_not_shown_any_more() -> None:
    script = Script(*RUNNING, Stop(), Rests(None), Start())
    assert script.state == HostState(HostPhase.STARTING, container=NAME)
    assert script.life.container is None


def test_a_gpu_that_is_lost_stays_lost_while_nothing_is_loaded() -> None:
    script = Script(Start(), Rises(EXITED))
    script.life.trust.started(Processor.GPU)
    script.tell(replace(UP, processor=Processor.FALLBACK))
    before = script.state
    assert (script.tell(Heard(())), script.state) == ((), before)
