"""Reads the status of a refused call."""

from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status


@dataclass(frozen=True)
class Refusal:
    """The status of a call."""

    code: grpc.StatusCode
    reason: str
    """Reason of its ErrorInfo. Empty if it has none."""
    message: str


def refusal_of(call: Any, *args: Any, **kwargs: Any) -> Refusal:
    """Make a call that must be refused. Streams are read to their end."""

    def ask() -> None:
        answer = call(*args, **kwargs)
        if hasattr(answer, "__next__"):
            list(answer)

    with pytest.raises(grpc.RpcError) as caught:
        ask()
    return refusal_in(caught.value)


def refusal_in(error: Any) -> Refusal:
    """Read the status that an error of grpc carries."""
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    for detail in status.details if status else ():
        detail.Unpack(info)
    return Refusal(error.code(), info.reason, str(error.details()))
