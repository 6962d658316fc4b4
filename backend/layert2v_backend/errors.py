"""All errors of the backend, in one tree, and the one table of status codes.

Refused                       each carries its grpc.StatusCode, reason and field violations
    InvalidRequest            INVALID_ARGUMENT
        InvalidShot           INVALID_ARGUMENT
        RequestTooLarge       INVALID_ARGUMENT
    UnknownJob                NOT_FOUND
    UnknownArtifact           NOT_FOUND
    UnknownModel              NOT_FOUND
    KeptJobNotSucceeded       FAILED_PRECONDITION
    ModelDamaged              FAILED_PRECONDITION
    ContentDiffers            FAILED_PRECONDITION
    RequestIdReused           ALREADY_EXISTS
    OffsetPastEnd             OUT_OF_RANGE
    StorageFault              INTERNAL, or as below; a fault of the state folder's disk
        DiskFull              RESOURCE_EXHAUSTED
        DiskNotWritable       FAILED_PRECONDITION
        DiskFails             INTERNAL
        JournalDamaged        DATA_LOSS
    QueueFull                 RESOURCE_EXHAUSTED
    TooManyCalls              RESOURCE_EXHAUSTED
    Overloaded                RESOURCE_EXHAUSTED
    DataLoss                  DATA_LOSS
    Draining                  UNAVAILABLE
    ReaderStalled             UNAVAILABLE
    InternalFault             INTERNAL
CannotServe                   the backend does not start: exit code 2
StaleAttempt                  a message of an attempt that is no longer the job's
WorkerLost                    the worker process died or hung
WorkerNotStarted              there was no worker process to lose

Each message is one sentence with the value, the limit and the remedy. None holds a path of the
server or a text of Python. `shown` shortens text from a client, and `words_of` describes an
`OSError`.
"""

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2  # type: ignore[import-untyped]

DOMAIN = "layert2v"
MAX_SHOWN_CHARS = 80
"""Most characters of a name that a message repeats."""
_MAX_VIOLATIONS = 16
"""Status details travel in trailers, which are limited to 8 KiB by default."""


@dataclass(frozen=True)
class FieldViolation:
    """A fault in one field of a request."""

    field: str
    """Path from the request, such as `shot.layers[2].prompt`."""
    description: str
    """One sentence with the value, the limit and the remedy."""


class Refused(Exception):
    """Raised when a request cannot be served. The caller sees the message."""

    code: ClassVar[grpc.StatusCode]
    reason: ClassVar[str]

    def __init__(self, message: str, violations: Sequence[FieldViolation] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.violations = tuple(violations)


class InvalidRequest(Refused):
    """Raised when a request is malformed."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "INVALID_REQUEST"


class InvalidShot(InvalidRequest):
    """Raised when a shot cannot be made."""

    reason = "INVALID_SHOT"


class RequestTooLarge(InvalidRequest):
    """Raised when a request has more bytes than its rpc allows. It was not parsed."""

    reason = "REQUEST_TOO_LARGE"


class UnknownJob(Refused):
    """Raised when no job has the name."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "UNKNOWN_JOB"


class UnknownArtifact(Refused):
    """Raised when no artifact has the name."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "UNKNOWN_ARTIFACT"


class UnknownModel(Refused):
    """Raised when no model has the id."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "UNKNOWN_MODEL"


class KeptJobNotSucceeded(Refused):
    """Raised when a shot keeps a layer from a job without a take."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "KEPT_JOB_NOT_SUCCEEDED"


class ModelDamaged(Refused):
    """Raised when a model folder's description cannot be read."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "MODEL_DAMAGED"


class ContentDiffers(Refused):
    """Raised when an artifact does not have the content the reader asked for."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "CONTENT_DIFFERS"


class RequestIdReused(Refused):
    """Raised when a request id is used again with another shot."""

    code = grpc.StatusCode.ALREADY_EXISTS
    reason = "REQUEST_ID_REUSED"


class OffsetPastEnd(Refused):
    """Raised when a read begins beyond an artifact's end."""

    code = grpc.StatusCode.OUT_OF_RANGE
    reason = "OFFSET_PAST_END"


class StorageFault(Refused):
    """Raised when the state folder's disk fails. The same call may work later."""

    code = grpc.StatusCode.INTERNAL
    reason = "STORAGE_FAULT"


class DiskFull(StorageFault):
    """Raised when the state folder's disk is full."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "DISK_FULL"


class DiskNotWritable(StorageFault):
    """Raised when rights, flags or a read-only disk protect the state folder."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "DISK_NOT_WRITABLE"


class DiskFails(StorageFault):
    """Raised when the state folder's disk reports an error."""

    code = grpc.StatusCode.INTERNAL
    reason = "DISK_FAILS"


class JournalDamaged(StorageFault):
    """Raised when the journal's file is not a database any more."""

    code = grpc.StatusCode.DATA_LOSS
    reason = "JOURNAL_DAMAGED"


class QueueFull(Refused):
    """Raised when too many jobs wait."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "QUEUE_FULL"


class TooManyCalls(Refused):
    """Raised when too many calls of one rpc are open."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "TOO_MANY_CALLS"


class Overloaded(Refused):
    """Raised when the backend's computer has no memory or no open files to spare."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "OVERLOADED"


class DataLoss(Refused):
    """Raised when something stored, a file or a row, is missing, unreadable or damaged."""

    code = grpc.StatusCode.DATA_LOSS
    reason = "DATA_LOSS"


class Draining(Refused):
    """Raised when the backend is stopping."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "DRAINING"


class ReaderStalled(Refused):
    """Raised when a client does not read the answer that it asked for."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "READER_STALLED"


class InternalFault(Refused):
    """Raised in place of any unexpected fault. The log says more."""

    code = grpc.StatusCode.INTERNAL
    reason = "INTERNAL"


class CannotServe(Exception):
    """Raised when the backend cannot start, for one because its address is wrong or in use."""


class StaleAttempt(Exception):
    """Raised when an attempt reports on a job that is no longer its own."""


class WorkerLost(Exception):
    """Raised when the worker process died or hung. The message says how."""


class WorkerNotStarted(Exception):
    """Raised when no worker process could be started. The message says why and what to do."""


_SCARCE = {
    errno.EMFILE: "the backend has too many open files",
    errno.ENFILE: "this computer has too many open files",
    errno.ENOMEM: "this computer has no memory left",
    errno.EAGAIN: "this user has too many processes",
}
_FAULTS = _SCARCE | {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk's quota is used up",
    errno.EIO: "the disk reports an error",
    errno.EACCES: "the permission is missing",
    errno.EPERM: "the permission is missing",
    errno.EROFS: "the disk can only be read",
    errno.ENOENT: "it is missing",
    errno.EISDIR: "it is a folder",
    errno.ENOTDIR: "it is no folder",
}


def words_of(failure: OSError) -> str:
    """Describe a fault of the operating system in English, without a path."""
    code = failure.errno
    if code in _FAULTS:
        return _FAULTS[code]
    return f"the system reports {errno.errorcode.get(code, code) if code else 'an error'}"


def is_scarce(failure: OSError) -> bool:
    """Say whether a fault can pass by itself, because memory, files or processes ran out."""
    return failure.errno in _SCARCE


def shown(name: str) -> str:
    """Quote a name from a client, cut to `MAX_SHOWN_CHARS` and free of control characters."""
    return repr(name[:MAX_SHOWN_CHARS]) + ("..." if len(name) > MAX_SHOWN_CHARS else "")


def status_of(refused: Refused) -> status_pb2.Status:
    """Build the status with its google.rpc details: ErrorInfo, BadRequest, RetryInfo."""
    details = [_packed(error_details_pb2.ErrorInfo(reason=refused.reason, domain=DOMAIN))]
    if refused.violations:
        violations = [
            error_details_pb2.BadRequest.FieldViolation(
                field=violation.field, description=violation.description
            )
            for violation in refused.violations[:_MAX_VIOLATIONS]
        ]
        details.append(_packed(error_details_pb2.BadRequest(field_violations=violations)))
    if refused.code is grpc.StatusCode.UNAVAILABLE or isinstance(refused, TooManyCalls):
        delay = duration_pb2.Duration(seconds=2)
        details.append(_packed(error_details_pb2.RetryInfo(retry_delay=delay)))
    code = code_pb2.Code.Value(refused.code.name)
    return status_pb2.Status(code=code, message=refused.message, details=details)


def _packed(
    detail: error_details_pb2.ErrorInfo
    | error_details_pb2.BadRequest
    | error_details_pb2.RetryInfo,
) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed
