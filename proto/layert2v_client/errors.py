"""All errors of talking to a backend, and the one table of status codes.

ClientError
    BackendUnreachable      UNAVAILABLE, refused or lost connections
        BackendBusy             RESOURCE_EXHAUSTED for a reason that passes by itself
        CallCancelled           CANCELLED, as by a backend that stops
    BackendTimeout          DEADLINE_EXCEEDED
    NotAuthorised           UNAUTHENTICATED, PERMISSION_DENIED
    InvalidRequest          INVALID_ARGUMENT
        InvalidShot             of create_job, with field paths
    NotFound                NOT_FOUND
        JobNotFound, ArtifactNotFound
    RequestConflict         ALREADY_EXISTS
    NotReady                FAILED_PRECONDITION
    BackendFull             RESOURCE_EXHAUSTED
    DamagedArtifact         DATA_LOSS, OUT_OF_RANGE, checksums that differ
    VersionMismatch         UNIMPLEMENTED
    BackendFailed           INTERNAL, UNKNOWN, ABORTED
    LocalDiskFull           no space on the disk of a download
    BadAddress              an address that is not valid
        TokenInClear            an address to which a token would go unencrypted
"""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from grpclib.const import Status
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

from layert2v.v1 import LOOPBACK_ADDRESS
from layert2v_client.status import StatusDetails, Violation, details_of


class ClientError(Exception):
    """Raised when a call fails. Says what happened and how to go on."""

    default_remedy = ""

    def __init__(
        self,
        message: str,
        remedy: str = "",
        violations: tuple[Violation, ...] = (),
        reason: str = "",
    ):
        super().__init__(message)
        self.message = message
        self.remedy = remedy or self.default_remedy
        self.violations = violations
        self.reason = reason

    def __str__(self) -> str:
        return " ".join(part for part in (self.message, self.remedy) if part)


class BackendUnreachable(ClientError):
    """Raised when no backend answers at the address, or the connection is lost."""

    default_remedy = "Start the backend or correct its address, then try again."


class BackendBusy(BackendUnreachable):
    """Raised when the backend has no room for the call now. Nothing was done, so repeat it."""

    default_remedy = "Try again in a moment."


class CallCancelled(BackendUnreachable):
    """Raised when the backend ended the call without an answer, as one that stops does: repeat."""

    default_remedy = "Wait until the backend has started again."


class BackendTimeout(ClientError):
    """Raised when the backend takes longer than the call's deadline."""

    default_remedy = "The backend may be overloaded. Try again in a moment."


class NotAuthorised(ClientError):
    """Raised when the backend does not accept the token, or the token lacks the right."""

    default_remedy = "Check the token in the preferences."


class InvalidRequest(ClientError):
    """Raised when the backend refuses a request as malformed. See `violations`."""

    default_remedy = "Correct the named fields and try again."


class InvalidShot(InvalidRequest):
    """Raised when a shot cannot be made as asked. `violations` names each field."""


class NotFound(ClientError):
    """Raised when a name in a request does not exist. The message says what to name instead."""


class JobNotFound(NotFound):
    """Raised when the backend does not know the job."""

    default_remedy = "Another backend made it, or it has been deleted. Generate again."


class ArtifactNotFound(NotFound):
    """Raised when the backend no longer has the file."""

    default_remedy = "The take has been deleted there. Generate it again."


class RequestConflict(ClientError):
    """Raised when a request id was used before for another shot."""

    default_remedy = "Press Generate again, which makes a new request."


class NotReady(ClientError):
    """Raised when a kept layer's job has not succeeded, or content has changed."""

    default_remedy = "Wait until the other job has finished."


class BackendFull(ClientError):
    """Raised when the backend's disk or queue is full."""

    default_remedy = "The backend has no room for this now. Try again in a moment."


class DamagedArtifact(ClientError):
    """Raised when bytes do not match their checksum, here or in the backend's store."""

    default_remedy = "Nothing was imported. Try again. If the fault stays, generate again."


class VersionMismatch(ClientError):
    """Raised when the backend does not know a call that this client makes."""

    default_remedy = "Install the same version of the add-on and the backend."


class BackendFailed(ClientError):
    """Raised when the backend met a fault of its own."""

    default_remedy = "The fault is not in the request. See the backend's log."


class LocalDiskFull(ClientError):
    """Raised when the disk of a download has no space left."""

    default_remedy = "Free some space there, then try again."


class BadAddress(ClientError):
    """Raised when an address is not valid."""

    default_remedy = f"Use `{LOOPBACK_ADDRESS}`, `host:port`, or `unix:/path/to/socket`."


class TokenInClear(BadAddress):
    """Raised when a token would leave this computer unencrypted. Nothing was sent."""

    default_remedy = (
        "Use the end of an SSH tunnel on this computer, or leave the token empty if the backend "
        "asks for none."
    )


STATUS_TO_ERROR: Mapping[Status, type[ClientError]] = {
    Status.CANCELLED: CallCancelled,
    Status.UNKNOWN: BackendFailed,
    Status.INVALID_ARGUMENT: InvalidRequest,
    Status.DEADLINE_EXCEEDED: BackendTimeout,
    Status.NOT_FOUND: NotFound,
    Status.ALREADY_EXISTS: RequestConflict,
    Status.PERMISSION_DENIED: NotAuthorised,
    Status.RESOURCE_EXHAUSTED: BackendFull,
    Status.FAILED_PRECONDITION: NotReady,
    Status.ABORTED: BackendFailed,
    Status.OUT_OF_RANGE: DamagedArtifact,
    Status.UNIMPLEMENTED: VersionMismatch,
    Status.INTERNAL: BackendFailed,
    Status.UNAVAILABLE: BackendUnreachable,
    Status.DATA_LOSS: DamagedArtifact,
    Status.UNAUTHENTICATED: NotAuthorised,
}
"""The exception of every status except OK."""

REASON_TO_ERROR: Mapping[str, type[ClientError]] = {
    "TOO_MANY_CALLS": BackendBusy,
    "OVERLOADED": BackendBusy,
}
"""Exceptions of reasons that say more than their status."""

REMEDIES: Mapping[str, str] = {
    "DISK_FULL": "Free disk space where the backend stores takes.",
    "QUEUE_FULL": "Wait until some of the backend's jobs have ended, or cancel some.",
    "TOO_MANY_CALLS": "The call is repeated by itself. If not, try again in a moment.",
    "OVERLOADED": "Close other programs on the backend's computer, or try again in a moment.",
    "REQUEST_TOO_LARGE": "Shorten the prompts or use fewer layers.",
    "MODEL_DAMAGED": "Install the model again on the backend's computer, or choose another.",
    "UNKNOWN_MODEL": "Choose one of the models that the backend has.",
    "CONTENT_DIFFERS": "Fetch the take again from its start.",
    "DRAINING": "Wait until the backend has started again.",
    "READER_STALLED": "The transfer resumes by itself.",
}
"""Remedies by the backend's reason. Other reasons have their error's remedy."""

JOB_CALL: Mapping[Status, type[ClientError]] = {Status.NOT_FOUND: JobNotFound}
CREATE_CALL: Mapping[Status, type[ClientError]] = {Status.INVALID_ARGUMENT: InvalidShot}
ARTIFACT_CALL: Mapping[Status, type[ClientError]] = {Status.NOT_FOUND: ArtifactNotFound}


def error_from_status(
    error: GRPCError, narrower: Mapping[Status, type[ClientError]] | None = None
) -> ClientError:
    """Turn a failed call's status into our exception. `narrower` goes before the table."""
    details: StatusDetails = details_of(error.details)
    kind = (
        REASON_TO_ERROR.get(details.reason)
        or (narrower or {}).get(error.status)
        or STATUS_TO_ERROR[error.status]
    )
    message = error.message or f"The backend answered {error.status.name}."
    remedy = details.remedy or REMEDIES.get(details.reason, "")
    return kind(message, remedy, details.violations, details.reason)


@asynccontextmanager
async def translated(
    address: str, narrower: Mapping[Status, type[ClientError]] | None = None
) -> AsyncIterator[None]:
    """Turn every failure inside into a `ClientError`, so that none of grpclib's gets out."""
    try:
        yield
    except GRPCError as error:
        raise error_from_status(error, narrower) from None
    except TimeoutError:
        raise BackendTimeout(f"The backend at {address} did not answer in time.") from None
    except (StreamTerminatedError, ProtocolError):
        raise BackendUnreachable(f"The connection to the backend at {address} was lost.") from None
    except OSError as error:
        raise BackendUnreachable(f"No backend answers at {address}{_why(error)}.") from None


def _why(error: OSError) -> str:
    """Give the system's reason in brackets. It is empty if Python has replaced its text."""
    reason = error.strerror or ""
    if reason.startswith("Connect call failed") and error.errno:
        reason = os.strerror(error.errno)
    return f" ({reason})" if reason else ""
