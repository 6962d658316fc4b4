# SPDX-License-Identifier: GPL-3.0-or-later
"""The state that panels show: the link, the models and every request.

Only the main thread uses it.
"""

from dataclasses import dataclass, field

from layert2v_client import JobStage, Model, Progress, ServerInfo

from .events import Event, FetchProgressed, LinkDown, LinkUp, ProgressChanged, RecordChanged
from .records import JobRecord, RecordState

GENERATING_SHARE = 0.95
"""Share of the progress bar for the backend's work. The rest is fetching, which took under 5 % of
a take's time on loopback."""


@dataclass
class JobView:
    """One request, as panels draw it."""

    record: JobRecord
    """The record, as the journal has it."""
    journal_folder: str
    """The media root."""
    progress: Progress | None = None
    """Progress of the running job."""
    fetched: float = 0.0
    """Share of the take's bytes that are fetched, 0 to 1."""
    notice: str = ""
    """Sentences on what the artist should check in the imported take. Empty once dismissed."""
    waiting: str = ""
    """Sentence on why a ready take is not imported by itself."""
    can_import: bool = True
    """Whether Import Now can put a waiting take into the open file."""

    @property
    def fraction(self) -> float:
        """Progress up to the end of the fetch, 0 to 1."""
        state = self.record.state
        if state is RecordState.FETCHING:
            return GENERATING_SHARE + (1 - GENERATING_SHARE) * self.fetched
        if state in (RecordState.READY, RecordState.IMPORTED):
            return 1.0
        return GENERATING_SHARE * self.progress.fraction if self.progress else 0.0

    @property
    def caption(self) -> str:
        """Say briefly how far the request is, such as `denoising 3/24, 12 s left`."""
        if self.record.state is RecordState.SUBMITTING:
            return "waiting for the backend"
        if self.record.state is not RecordState.RUNNING or self.progress is None:
            return str(self.record.state)
        progress = self.progress
        steps = f" {progress.step}/{progress.num_steps}" if progress.num_steps else ""
        left = "" if progress.eta_s is None else f", {duration(progress.eta_s)} left"
        return f"{progress.stage}{steps}{left}"


def duration(seconds: float) -> str:
    """Write a duration for people: `12 s`, `3 min 5 s`."""
    whole = max(0, round(seconds))
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60} s"


def counted(count: int, noun: str) -> str:
    """Write a count with its noun and verb, such as `1 job is` or `2 jobs are`."""
    return f"{count} {noun} is" if count == 1 else f"{count} {noun}s are"


@dataclass
class Board:
    """The state that the session's events have added up to so far."""

    is_up: bool | None = None
    """Whether the backend answers. None while that is not known."""
    message: str = ""
    """Sentence on why the backend does not answer."""
    remedy: str = ""
    """Sentence on the remedy."""
    info: ServerInfo | None = None
    """Description of the backend, once it has answered."""
    models: tuple[Model, ...] = ()
    """Models of the backend."""
    jobs: dict[str, JobView] = field(default_factory=dict)
    """Requests of this session by id, oldest first."""

    def apply(self, event: Event) -> None:
        """Take in one event."""
        match event:
            case LinkUp():
                self.is_up, self.message, self.remedy = True, "", ""
                self.info, self.models = event.info, event.models
            case LinkDown():
                self.is_up, self.message, self.remedy = False, event.message, event.remedy
            case RecordChanged():
                self._apply_record(event)
            case ProgressChanged():
                if event.request_id in self.jobs:
                    self.jobs[event.request_id].progress = event.progress
            case FetchProgressed():  # always taken: no sixth kind of event exists.
                if event.request_id in self.jobs:
                    self.jobs[event.request_id].fetched = event.fraction

    def _apply_record(self, event: RecordChanged) -> None:
        request_id = event.record.request_id
        view = self.jobs.setdefault(request_id, JobView(event.record, event.journal_folder))
        if event.record.revision >= view.record.revision:
            view.record = event.record.kept_promises(view.record)

    def model(self, model_id: str) -> Model | None:
        """Give a model by id, or None if it is not known. An empty id means the backend's first."""
        for model in self.models:
            if model.id == model_id or not model_id:
                return model
        return None

    @property
    def is_working(self) -> bool:
        """Whether a job has passed loading, so that its model is in memory."""
        stages = [view.progress.stage for view in self.active if view.progress]
        return any(stage not in (JobStage.LOADING, JobStage.UNKNOWN) for stage in stages)

    @property
    def active(self) -> list[JobView]:
        """Requests the session is working on, oldest first."""
        return [view for view in self.jobs.values() if view.record.state.is_active]

    @property
    def ready(self) -> list[JobView]:
        """Takes that wait to be imported, oldest first."""
        return [view for view in self.jobs.values() if view.record.state is RecordState.READY]

    @property
    def failed(self) -> list[JobView]:
        """Requests that failed, oldest first."""
        return [view for view in self.jobs.values() if view.record.state is RecordState.FAILED]

    @property
    def offered(self) -> list[JobView]:
        """Cancelled requests whose take was finished all the same, oldest first."""
        return [view for view in self.jobs.values() if view.record.is_offered]

    @property
    def noticed(self) -> list[JobView]:
        """Imported takes with a notice, oldest first."""
        return [view for view in self.jobs.values() if view.notice]
