"""The small parts of requests: numbers of layers, names, ids, page sizes and tokens."""

import base64
import binascii
import hashlib
import re
import uuid

from layert2v.v1 import shot_pb2
from layert2v_backend.errors import FieldViolation, InvalidRequest, InvalidShot, shown
from layert2v_backend.jobs import JOB_NAME

MAX_LAYERS = 64
"""More layers than any model has. A request with more is refused before its layers are read."""
MAX_PAGE_JOBS = 500
MAX_PAGE_ARTIFACTS = 1000

_ARTIFACT_NAME = re.compile(r"jobs/([a-z0-9][a-z0-9-]{0,62})/artifacts/([a-z0-9][a-z0-9-]{0,62})")


def check_num_layers(shot: shot_pb2.Shot) -> None:
    """Refuse a shot that no model could make, before its layers are read.

    Raises:
        InvalidShot: It has more than `MAX_LAYERS` layers.
    """
    if len(shot.layers) > MAX_LAYERS:
        description = (
            f"there are {len(shot.layers)} layers, and no model makes more than {MAX_LAYERS}: "
            "send fewer"
        )
        violation = FieldViolation("shot.layers", description)
        raise InvalidShot(f"shot.layers: {description}", [violation])


def request_sha256(shot: shot_pb2.Shot) -> str:
    """Digest a shot as it was sent, to tell a repeated request from a different one."""
    return hashlib.sha256(shot.SerializeToString(deterministic=True)).hexdigest()


def request_id_from_proto(request_id: str) -> str | None:
    """Check a request id, or give None if the request has none.

    Raises:
        InvalidRequest: It is not a UUID.
    """
    if not request_id:
        return None
    try:
        return str(uuid.UUID(request_id))
    except ValueError as failure:
        raise _invalid(
            "request_id", f"{shown(request_id)} is not a UUID: make one for each new shot"
        ) from failure


def job_id_from_name(name: str, field: str = "name") -> str:
    """Take the id out of `jobs/{job}`.

    Raises:
        InvalidRequest: The name has another form.
    """
    match = JOB_NAME.fullmatch(name)
    if not match:
        raise _invalid(
            field, f"{shown(name)} is not of the form jobs/{{job}} with a to z, 0 to 9 and -"
        )
    return match[1]


def artifact_ids_from_name(name: str) -> tuple[str, str]:
    """Take job and artifact id out of `jobs/{job}/artifacts/{artifact}`.

    Raises:
        InvalidRequest: The name has another form.
    """
    match = _ARTIFACT_NAME.fullmatch(name)
    if not match:
        form = "jobs/{job}/artifacts/{artifact} with a to z, 0 to 9 and -"
        raise _invalid("name", f"{shown(name)} is not of the form {form}")
    return match[1], match[2]


def _invalid(field: str, description: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {description}", [FieldViolation(field, description)])


def page_size_from_proto(page_size: int, default: int, largest: int) -> int:
    """Fill in and clamp a page size.

    Raises:
        InvalidRequest: It is negative.
    """
    if page_size < 0:
        raise _invalid("page_size", f"{page_size} is negative: ask for 1 to {largest}")
    return min(page_size or default, largest)


def page_token_to_proto(position: str) -> str:
    """Make the opaque token for the page after `position`."""
    return base64.urlsafe_b64encode(b"1:" + position.encode()).decode()


def page_token_from_proto(token: str) -> str:
    """Read the position that a page token holds. It is empty for the first page.

    Raises:
        InvalidRequest: It is not a token of this backend.
    """
    try:
        text = base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as failure:
        raise _bad_token(token) from failure
    if token and not text.startswith("1:"):
        raise _bad_token(token)
    return text[2:]


def job_page_from_proto(token: str) -> int | None:
    """Read the number below which the jobs of the next page lie, or None for the first page.

    Raises:
        InvalidRequest: It is not a token of this backend.
    """
    position = page_token_from_proto(token)
    if position and not (position.isascii() and position.isdigit() and len(position) < 19):
        raise _bad_token(token)
    return int(position) if position else None


def _bad_token(token: str) -> InvalidRequest:
    return _invalid(
        "page_token", f"{shown(token)} is not a page token: use next_page_token unchanged"
    )
