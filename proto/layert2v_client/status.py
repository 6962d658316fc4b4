"""Reads google.rpc error details from the trailer of a failed call.

The published stubs of google.rpc (googleapis-common-protos) weigh 300 KB. They also refuse a
protobuf older than their own, which another Blender extension may have installed. So this module
describes the few messages that it needs, in a pool of their own.
Source: google/rpc/status.proto and google/rpc/error_details.proto, fields as numbered there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpclib.const import Status
from grpclib.encoding.base import StatusDetailsCodecBase

_PACKAGE = "layert2v.rpc"
_TYPE_PREFIX = "type.googleapis.com/google.rpc."
_STRING = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
_INT32 = descriptor_pb2.FieldDescriptorProto.TYPE_INT32
_BYTES = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
_MESSAGE = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
_MESSAGES: dict[str, list[tuple[str, int, Any]]] = {
    "Any": [("type_url", 1, _STRING), ("value", 2, _BYTES)],
    "Status": [("code", 1, _INT32), ("message", 2, _STRING), ("details", 3, "Any")],
    "FieldViolation": [("field", 1, _STRING), ("description", 2, _STRING)],
    "BadRequest": [("field_violations", 1, "FieldViolation")],
    "LocalizedMessage": [("locale", 1, _STRING), ("message", 2, _STRING)],
    "ErrorInfo": [("reason", 1, _STRING), ("domain", 2, _STRING)],
}
"""Messages with their fields: name, number and type. A message's name means "repeated"."""


@dataclass(frozen=True)
class Violation:
    """One fault in a request."""

    field: str
    """Path of the field, such as `shot.layers[2].prompt`."""
    description: str
    """One sentence with the value, the limit and the remedy."""


@dataclass(frozen=True)
class StatusDetails:
    """The details in the trailer of a failed call, beyond its status and message."""

    violations: tuple[Violation, ...] = ()
    """The faults from BadRequest."""
    reason: str = ""
    """A stable word in upper case, from ErrorInfo."""
    remedy: str = ""
    """A sentence for the artist, from LocalizedMessage."""


@lru_cache(maxsize=1)
def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="layert2v/rpc.proto", package=_PACKAGE)
    file.syntax = "proto3"
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field_name, number, kind in fields:
            field = message.field.add(name=field_name, number=number)
            is_message = isinstance(kind, str)
            field.type = _MESSAGE if is_message else kind
            field.label = field.LABEL_REPEATED if is_message else field.LABEL_OPTIONAL
            if is_message:
                field.type_name = f".{_PACKAGE}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in _MESSAGES
    }


def parse_details(data: bytes) -> StatusDetails:
    """Read a serialised google.rpc.Status. Details of other types are ignored."""
    classes = _classes()
    violations: list[Violation] = []
    reason = remedy = ""
    for detail in classes["Status"].FromString(data).details:
        kind = detail.type_url.removeprefix(_TYPE_PREFIX)
        if kind == "BadRequest":
            parsed = classes[kind].FromString(detail.value).field_violations
            violations += [Violation(item.field, item.description) for item in parsed]
        elif kind == "ErrorInfo":
            reason = classes[kind].FromString(detail.value).reason
        elif kind == "LocalizedMessage":
            remedy = classes[kind].FromString(detail.value).message
    return StatusDetails(tuple(violations), reason, remedy)


def pack_details(status: Status, message: str | None, details: StatusDetails) -> bytes:
    """Write a serialised google.rpc.Status. This is the inverse of `parse_details`."""
    classes = _classes()
    packed = classes["Status"](code=status.value, message=message or "")
    parts: dict[str, dict[str, Any]] = {
        "BadRequest": {
            "field_violations": [
                {"field": item.field, "description": item.description}
                for item in details.violations
            ]
        },
        "ErrorInfo": {"reason": details.reason, "domain": "layert2v"},
        "LocalizedMessage": {"locale": "en", "message": details.remedy},
    }
    present = (bool(details.violations), bool(details.reason), bool(details.remedy))
    for (kind, fields), is_present in zip(parts.items(), present, strict=True):
        if is_present:
            value = classes[kind](**fields).SerializeToString()
            packed.details.add(type_url=_TYPE_PREFIX + kind, value=value)
    return bytes(packed.SerializeToString())


class DetailsCodec(StatusDetailsCodecBase):
    """Lets grpclib carry `StatusDetails` in `grpc-status-details-bin`."""

    def encode(self, status: Status, message: str | None, details: Any) -> bytes:
        """Pack details for the trailer."""
        return pack_details(status, message, details)

    def decode(self, status: Status, message: str | None, data: bytes) -> Any:
        """Unpack details from the trailer."""
        return parse_details(data)


def details_of(carried: StatusDetails | Sequence[Any] | None) -> StatusDetails:
    """Give the details that an error carried, or empty ones."""
    return carried if isinstance(carried, StatusDetails) else StatusDetails()
