"""Limits of one call: the bytes of its request, and the open calls of its kind.

One kind of call cannot lock out another, because each has a count of its own. Health checks and
cancels are never refused for load.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from layert2v_backend.errors import TooManyCalls

KIB = 1 << 10


@dataclass(frozen=True)
class CallLimit:
    """The limits of one method."""

    request_bytes: int = 8 * KIB
    """Most bytes of a request. A longer one is not parsed. Names, tokens and hashes fit 8 KiB."""
    open_calls: int | None = 256
    """Most open calls at once. None means that load never refuses a call."""


USUAL_LIMIT = CallLimit()
"""The limit of every method that is not named below."""
LIMITS: dict[str, CallLimit] = {
    # Seven layers and three more texts of 4000 characters of four bytes are 160 KiB.
    "/layert2v.v1.JobService/CreateJob": CallLimit(256 * KIB),
    "/layert2v.v1.JobService/CancelJob": CallLimit(open_calls=None),
    # A watcher costs 60 KiB, and each panel of a studio watches a job.
    "/layert2v.v1.JobService/WatchJob": CallLimit(open_calls=1024),
    # A reader holds an open file and two blocks of 1 MiB.
    "/layert2v.v1.ArtifactService/ReadArtifact": CallLimit(open_calls=128),
    "/grpc.health.v1.Health/Check": CallLimit(open_calls=None),
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": CallLimit(open_calls=16),
}
"""Limits by full method name."""


class Gate:
    """Counts the open calls of one method."""

    def __init__(self, method: str, limit: CallLimit) -> None:
        self.limit = limit
        self.method = method
        self.num_open = 0

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Hold one of the places while a call is served.

        Raises:
            TooManyCalls: All places are in use.
        """
        limit = self.limit.open_calls
        if limit is not None and self.num_open >= limit:
            name = self.method.rpartition("/")[2]
            raise TooManyCalls(
                f"{self.num_open} calls of {name} are open, and the limit is {limit}: try again "
                "in a moment"
            )
        self.num_open += 1
        try:
            yield
        finally:
            self.num_open -= 1
