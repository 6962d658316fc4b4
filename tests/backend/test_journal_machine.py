"""The journal agrees with a dictionary, whatever is asked of it in whatever order."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from layert2v_backend.errors import (
    StaleAttempt,
)
from layert2v_backend.jobs import (
    JobError,
    JobState,
)
from layert2v_backend.journal import Journal
from support.journal_entries import FINISHED, PROGRESS, SHOT


class JournalMachine(RuleBasedStateMachine):
    """The journal against a dictionary: states, attempts and gapless events."""

    @initialize(data=st.data())
    def open(self, data: st.DataObject) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "journal.sqlite3"
        self.journal = Journal(self.path)
        self.model: dict[str, tuple[JobState, int]] = {}
        self.strikes: dict[str, int] = {}
        self.heard: dict[str, float] = {}
        self.furthest: dict[str, float] = {}

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.journal.close()
            self.folder.cleanup()

    def _with_worker(self) -> list[str]:
        live = (JobState.RUNNING, JobState.CANCELLING)
        return [job_id for job_id, (state, _) in self.model.items() if state in live]

    @rule(request=st.sampled_from(["", "r1", "r2"]))
    def create(self, request: str) -> None:
        job, is_new = self.journal.create(SHOT, "hash", 1.0, request or None)
        assert is_new == (job.id not in self.model)
        self.model.setdefault(job.id, (JobState.QUEUED, 0))

    @rule()
    def begin(self) -> None:
        job = self.journal.begin_next(2.0)
        queued = [key for key, (state, _) in self.model.items() if state is JobState.QUEUED]
        assert (job.id if job else None) == (queued[0] if queued else None)
        if job:
            self.model[job.id] = (JobState.RUNNING, self.model[job.id][1] + 1)
            self.heard[job.id] = 0.0

    def _after_death(self, job_id: str) -> JobState:
        is_further = self.heard[job_id] > self.furthest.get(job_id, 0.0)
        self.furthest[job_id] = max(self.heard[job_id], self.furthest.get(job_id, 0.0))
        self.strikes[job_id] = 1 if is_further else self.strikes.get(job_id, 0) + 1
        return JobState.QUEUED if self.strikes[job_id] < 2 else JobState.FAILED

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.model)))
        goals = {JobState.QUEUED: JobState.CANCELLED, JobState.RUNNING: JobState.CANCELLING}
        state, attempt = self.model[job_id]
        self.model[job_id] = (goals.get(state, state), attempt)
        self.journal.cancel(job_id, 3.0)

    @precondition(lambda self: self._with_worker())
    @rule(data=st.data(), how=st.sampled_from(["progress", "succeed", "fail", "lose", "stale"]))
    def report(self, data: st.DataObject, how: str) -> None:
        job_id = data.draw(st.sampled_from(sorted(self._with_worker())))
        state, attempt = self.model[job_id]
        journal = self.journal
        ends = {"succeed": JobState.SUCCEEDED, "fail": JobState.FAILED, "lose": JobState.QUEUED}
        if how == "stale":
            with pytest.raises(StaleAttempt):
                journal.succeed(job_id, attempt + 1, FINISHED, 4.0)
            return
        if how == "progress":
            journal.add_progress(job_id, attempt, PROGRESS, 4.0)
            self.heard[job_id] = PROGRESS.fraction
            return
        end = ends[how]
        if how == "succeed":
            journal.succeed(job_id, attempt, FINISHED, 4.0)
        elif how == "fail":
            journal.fail(job_id, attempt, JobError("INTERNAL", "it broke"), 4.0)
        else:
            journal.lose(job_id, attempt, "it died", 2, 4.0)
        if state is JobState.CANCELLING:
            end = JobState.CANCELLED
        elif how == "lose":
            end = self._after_death(job_id)
        self.model[job_id] = (end, attempt)

    @rule()
    def restart(self) -> None:
        self.journal.close()
        self.journal = Journal(self.path)
        self.journal.recover(2, 5.0)
        for job_id in self._with_worker():
            state, attempt = self.model[job_id]
            is_cancelled = state is JobState.CANCELLING
            end = JobState.CANCELLED if is_cancelled else self._after_death(job_id)
            self.model[job_id] = (end, attempt)

    @invariant()
    def agree(self) -> None:
        for job_id, (state, attempt) in getattr(self, "model", {}).items():
            job = self.journal.get(job_id)
            assert (job.state, job.attempt) == (state, attempt)
            events = self.journal.events(job_id, 0, 10_000)
            assert [event.sequence for event in events] == list(range(1, job.last_sequence + 1))
            states = [event.what for event in events if isinstance(event.what, JobState)]
            assert states[-1] is job.state
            assert sum(it.is_terminal for it in states) == job.state.is_terminal
            is_published = bool(self.journal.artifacts(job_id))
            assert is_published == (job.state is JobState.SUCCEEDED)


@pytest.mark.slow
def test_the_journal_agrees_with_a_dictionary() -> None:
    run_state_machine_as_test(
        JournalMachine,
        settings=settings(
            max_examples=8,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
