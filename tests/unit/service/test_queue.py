"""Which job is started next: rules one by one, and what holds whatever happens."""

import itertools

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from lsst.ts.ocps.service.queue import Capacity, JobQueue, QueuedJob
from support.queues import cpus, drain, fill, job, make_queue

_NUMBERS = itertools.count()
_FEW = settings(max_examples=40)


def one_by_one(queue: JobQueue) -> str:
    """The order in which jobs are started where each ends before the next begins."""
    order = ""
    while (started := queue.start_next()) is not None:
        order += started.job_id
        queue.note_end(started.job_id)
    return order


class TestOrder:
    def test_jobs_of_one_owner_and_payload_are_started_in_order(self) -> None:
        assert one_by_one(fill(make_queue(), job("a"), job("b"), job("c"))) == "abc"

    def test_a_higher_priority_comes_first_and_a_negative_one_last(self) -> None:
        queue = make_queue()
        fill(queue, job("c"), job("d", priority=-1), job("a", priority=7), job("b", priority=2))
        assert one_by_one(queue) == "abcd"

    def test_owners_take_turns_and_those_without_name_share_one(self) -> None:
        queue = fill(make_queue(), *(job(name, owner="x") for name in "adgi"))
        fill(queue, *(job(name, owner="y") for name in "beh"), job("c", payload="p"), job("f", payload="q"))
        assert one_by_one(queue) == "abcdefghi"

    def test_payloads_of_an_owner_take_turns(self) -> None:
        queue = fill(make_queue(), *(job(name, payload="p") for name in "acef"))
        fill(queue, *(job(name, payload="q") for name in "bd"))
        assert one_by_one(queue) == "abcdef"

    def test_a_burst_of_one_does_not_hold_up_the_single_job_of_another(self) -> None:
        queue = fill(make_queue(slots=1), *(job(f"{n}", owner="burst") for n in range(1000)))
        assert drain(queue) == ["0"]
        queue.add(job("single", owner="other"))
        started: list[str] = []
        while "single" not in started:
            queue.note_end(started[-1] if started else "0")
            started += drain(queue)
        assert started == ["1", "single"]

    def test_max_active_holds_up_nobody_else(self) -> None:
        limited = [QueuedJob(name, "limited", max_active=2) for name in "abc"]
        queue = fill(make_queue(), *limited, job("d"), job("e"))
        assert drain(queue) == ["a", "d", "b", "e"]
        queue.note_end("b")
        assert drain(queue) == ["c"]

    def test_an_earlier_life_counts(self) -> None:
        queue = make_queue(slots=3, of=cpus(4))
        queue.note_start(QueuedJob("old", "p", demand=cpus(3), max_active=1))
        fill(queue, QueuedJob("a", "p", max_active=1), job("b", payload="q", of=cpus(2)))
        assert drain(queue) == []
        queue.note_end("old")
        assert drain(queue) == ["a", "b"]

    def test_what_is_removed_is_not_started_and_adding_twice_counts_once(self) -> None:
        queue = fill(make_queue(), job("a"), job("b"), job("a"))
        queue.remove("b")
        queue.remove("b")
        queue.remove("never there")
        assert drain(queue) == ["a"]
        queue.add(job("a"))
        assert (queue.waiting, queue.running) == (0, ("a",))
        queue.note_end("a")
        queue.note_end("a")
        assert queue.running == ()


class TestRoom:
    def test_no_more_is_given_than_there_is_of_either(self) -> None:
        queue = fill(make_queue(of=Capacity.of(2, 10)), *(job(n, of=Capacity.of(0.7, 1)) for n in "abc"))
        assert drain(queue) == ["a", "b"]
        queue = fill(make_queue(of=Capacity.of(100, 10)), *(job(n, of=Capacity.of(1, 4)) for n in "abc"))
        assert drain(queue) == ["a", "b"]
        queue.note_end("a")
        assert drain(queue) == ["c"]

    def test_tenths_of_processors_add_up(self) -> None:
        queue = fill(make_queue(of=cpus(1)), *(job(f"{n}", of=cpus(0.1)) for n in range(11)))
        assert len(drain(queue)) == 10

    def test_a_large_job_is_not_kept_out_by_small_ones(self) -> None:
        queue = fill(make_queue(of=cpus(4)), *(job(f"s{n}", owner="x", of=cpus(1)) for n in range(1000)))
        assert len(drain(queue)) == 4
        queue.add(job("large", owner="y", of=cpus(4)))
        ended = 0
        while "large" not in queue.running:
            queue.note_end(queue.running[0])
            ended += 1
            drain(queue)
        # One small job had its turn first, and four ran already.
        assert ended == 5

    def test_others_get_what_a_large_job_does_not_need(self) -> None:
        queue = make_queue(of=cpus(8))
        queue.note_start(job("long", of=cpus(4)))
        fill(queue, job("large", owner="x", of=cpus(6)), *(job(f"s{n}", of=cpus(1)) for n in range(5)))
        assert drain(queue) == ["s0", "s1"]
        queue.note_end("s0")
        assert drain(queue) == ["s2"]
        queue.note_end("long")
        assert drain(queue) == ["large"]

    def test_a_large_job_that_is_withdrawn_holds_back_nobody(self) -> None:
        queue = make_queue(of=cpus(8))
        queue.note_start(job("long", of=cpus(4)))
        fill(queue, job("large", owner="x", of=cpus(8)), job("small", of=cpus(4)))
        assert drain(queue) == []
        queue.remove("large")
        assert drain(queue) == ["small"]

    def test_what_asks_for_more_than_there_is_is_refused(self) -> None:
        queue = make_queue(of=cpus(1))
        with pytest.raises(ValueError, match=r"asks for 1\.1 cpus and .*, and jobs can have 1 cpus"):
            queue.add(job("a", of=cpus(1.1)))


_TOTAL = Capacity.of(4, 8)
_LIMITS = {"p": None, "q": 1, "r": 3}
_jobs = st.builds(
    lambda owner, payload, priority, number, memory, reads: QueuedJob(
        f"{next(_NUMBERS)}",
        payload,
        owner,
        priority,
        Capacity.of(number, memory),
        _LIMITS[payload],
        reads=reads,
    ),
    st.sampled_from([None, "x", "y", "z"]),
    st.sampled_from(list(_LIMITS)),
    st.sampled_from([0, 0, 0, 5]),
    st.sampled_from([0.5, 1, 2, 4]),
    st.integers(0, 8),
    st.booleans(),
)
# What happens: a job comes, one that runs ends, or goes aside and is taken up, one that waits is withdrawn.
_kinds = st.sampled_from(["end", "withdraw", "aside", "take up"])
_events = st.lists(st.one_of(_jobs, st.tuples(_kinds, st.integers(0, 50))))


class Model:
    """What is known from outside, and the checks that need nothing else."""

    def __init__(self) -> None:
        self.queue = JobQueue(slots=5, capacity=_TOTAL)
        self.waiting: dict[str, QueuedJob] = {}
        self.running: dict[str, QueuedJob] = {}
        self.aside: dict[str, QueuedJob] = {}
        self.ready: dict[str, QueuedJob] = {}

    def apply(self, event: QueuedJob | tuple[str, int]) -> None:
        match event:
            case QueuedJob():
                self.waiting[event.job_id] = event
                self.queue.add(event)
            case ("end", number) if known := self.started():
                self.end(list(known)[number % len(known)])
            case ("aside", number) if reading := [each for each in self.running.values() if each.reads]:
                one = reading[number % len(reading)]
                self.aside[one.job_id] = self.running.pop(one.job_id)
                self.queue.set_aside(one.job_id)
            case ("take up", number) if self.aside:
                self.take_up(list(self.aside)[number % len(self.aside)])
            case ("withdraw", number) if self.waiting:
                job_id = list(self.waiting)[number % len(self.waiting)]
                del self.waiting[job_id]
                self.queue.remove(job_id)
        self.start()

    def started(self) -> dict[str, QueuedJob]:
        return self.running | self.aside | self.ready

    def end(self, job_id: str) -> None:
        for jobs in (self.running, self.aside, self.ready):
            jobs.pop(job_id, None)
        self.queue.note_end(job_id)

    def take_up(self, job_id: str) -> None:
        self.ready[job_id] = self.aside.pop(job_id)
        self.queue.take_up(job_id)

    def start(self) -> list[QueuedJob]:
        started: list[QueuedJob] = []
        while (next_one := self.queue.start_next()) is not None:
            assert next_one.demand.fits_into(self.free())
            assert len(self.running) < 5
            if self.ready.pop(next_one.job_id, None) is None:
                assert not any(each.demand.fits_into(self.free()) for each in self.ready.values())
                self.check(next_one)
                del self.waiting[next_one.job_id]
            self.running[next_one.job_id] = next_one
            started.append(next_one)
        is_idle = not (self.running or self.aside)
        assert not (is_idle and (self.waiting or self.ready)), "there is room, and nothing is started"
        return started

    def free(self) -> Capacity:
        return _TOTAL - sum((each.demand for each in self.running.values()), start=Capacity())

    def active(self, payload: str) -> int:
        return sum(each.payload == payload for each in self.started().values())

    def may_start(self, one: QueuedJob) -> bool:
        limit = _LIMITS[one.payload]
        if one.reads and len(self.aside) + len(self.ready) >= 5:
            return False
        return one.demand.fits_into(self.free()) and (limit is None or self.active(one.payload) < limit)

    def check(self, chosen: QueuedJob) -> None:
        assert self.may_start(chosen)
        for other in self.waiting.values():
            alike = (other.owner, other.payload, other.priority) == (
                chosen.owner,
                chosen.payload,
                chosen.priority,
            )
            assert not (alike and int(other.job_id) < int(chosen.job_id)), "one that came before waits"
        firsts: dict[tuple[str | None, str], QueuedJob] = {}
        for other in self.waiting.values():
            if other.priority > chosen.priority:
                firsts.setdefault((other.owner, other.payload), other)
        # It may be held back for a large one, never for one of lower priority.
        passed = [other for other in firsts.values() if self.may_start(other)]
        held = [
            other
            for other in firsts.values()
            if not other.demand.fits_into(self.free()) and not self.is_full(other.payload)
        ]
        assert not passed or held, "a higher priority waits for nothing"

    def is_full(self, payload: str) -> bool:
        limit = _LIMITS[payload]
        return limit is not None and self.active(payload) >= limit


@_FEW
@given(_events)
def test_whatever_happens_no_rule_is_broken_and_every_job_is_started(
    events: list[QueuedJob | tuple[str, int]],
) -> None:
    model = Model()
    for event in events:
        model.apply(event)
    while model.started():
        for job_id in [*model.aside]:
            model.take_up(job_id)
        model.start()
        model.end(next(iter(model.running)))
        model.start()
    assert not model.waiting
    assert (model.queue.waiting, model.queue.running) == (0, ())


@_FEW
@given(st.lists(st.tuples(st.sampled_from([None, "x", "y", "z"]), st.sampled_from("pq"))), st.data())
def test_whoever_comes_new_waits_for_one_turn_of_each_other_owner(
    bursts: list[tuple[str | None, str]], data: st.DataObject
) -> None:
    queue = make_queue(slots=3)
    owners = {job_id: owner for job_id, (owner, _) in enumerate(bursts)}
    fill(queue, *(job(f"{n}", owner=owner, payload=payload) for n, (owner, payload) in enumerate(bursts)))
    drain(queue)
    queue.add(job("new", owner="new"))
    turns: list[str | None] = []
    while "new" not in (started := drain(queue)):
        turns += [owners[int(job_id)] for job_id in started]
        queue.note_end(data.draw(st.sampled_from(queue.running)))
    assert len(set(turns)) == len(turns)


@_FEW
@given(st.lists(st.sampled_from([0.5, 1, 2, 3]), min_size=1), st.data())
def test_a_large_job_waits_for_none_that_began_after_its_turn_had_come(
    sizes: list[float], data: st.DataObject
) -> None:
    queue = JobQueue(slots=100, capacity=cpus(4))
    fill(queue, *(job(f"before{n}", owner="x", of=cpus(size)) for n, size in enumerate(sizes)))
    drain(queue)
    queue.add(job("large", owner="y", of=cpus(3), priority=1))
    fill(queue, *(job(f"after{n}", owner="z", of=cpus(size)) for n, size in enumerate(sizes)))
    drain(queue)
    before = set(queue.running)
    while "large" not in queue.running:
        ending = data.draw(st.sampled_from(queue.running))
        queue.note_end(ending)
        before.discard(ending)
        drain(queue)
        assert before or "large" in queue.running


class TestFullElsewhere:
    def test_a_job_put_back_comes_first_again_but_only_after_there_is_room(self) -> None:
        queue = fill(make_queue(), job("a"), job("b"), job("c", payload="q"))
        ends = queue.ends
        first = queue.start_next()
        assert first is not None
        queue.put_back(first.job_id, ends=ends)
        assert drain(queue) == ["c"]
        queue.note_room("q")
        assert drain(queue) == []
        queue.note_room("p")
        assert drain(queue) == ["a", "b"]

    def test_room_made_while_a_job_was_put_back_is_not_missed(self) -> None:
        queue = fill(make_queue(), job("a"), job("b"))
        ends = queue.ends
        first = queue.start_next()
        assert first is not None
        queue.note_room("p")
        queue.put_back(first.job_id, ends=ends)
        assert drain(queue) == ["a", "b"]

    def test_the_end_of_a_job_of_ones_own_makes_room(self) -> None:
        queue = fill(make_queue(), job("a"), job("b"))
        assert queue.start_next() is not None
        ends = queue.ends
        second = queue.start_next()
        assert second is not None
        queue.put_back(second.job_id, ends=ends)
        assert drain(queue) == []
        queue.note_end("a")
        assert drain(queue) == ["b"]
