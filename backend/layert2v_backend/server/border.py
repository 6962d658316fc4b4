"""The border of every rpc. It checks limits before parsing and turns refusals into statuses.

A status carries the messages of the backend's own errors. Messages of Python, a library or the
operating system go to the log, because they name files of the server.
"""

import asyncio
import inspect
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc_status import rpc_status  # type: ignore[import-untyped]

from layert2v_backend.errors import (
    InternalFault,
    InvalidRequest,
    ReaderStalled,
    Refused,
    RequestTooLarge,
    status_of,
)
from layert2v_backend.faults import refused_of
from layert2v_backend.server.limits import LIMITS, USUAL_LIMIT, CallLimit, Gate

WRITE_TIMEOUT_S = 30.0
"""A call ends after so many seconds without a read. On TCP the transport notices a vanished "
"client, but on a unix socket only this limit does. Source: measured, November 2026."""

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"
_Continue: TypeAlias = "Callable[[grpc.HandlerCallDetails], Awaitable[_Handler]]"

log = structlog.get_logger()


class _Malformed:
    """Stands for a request that is not a protobuf message of its type."""


@dataclass(frozen=True)
class _TooLarge:
    """Stands for a request that was not parsed."""

    num_bytes: int


class Border(grpc.aio.ServerInterceptor):
    """Guards every method of a server."""

    def __init__(
        self, limits: Mapping[str, CallLimit] = LIMITS, write_timeout_s: float = WRITE_TIMEOUT_S
    ) -> None:
        """Keep limits.

        Args:
            limits: Limits by full method name. Others have `USUAL_LIMIT`.
            write_timeout_s: Longest wait, in seconds, for a client to read a message.
        """
        self._limits = limits
        self._write_timeout_s = write_timeout_s
        self._gates: dict[str, Gate] = {}

    async def intercept_service(
        self, continuation: _Continue, handler_call_details: grpc.HandlerCallDetails
    ) -> _Handler:
        """Wrap the handler of a method."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        gate = self._gate(handler_call_details.method)
        parse = bounded(handler.request_deserializer, gate.limit.request_bytes)
        serialize = handler.response_serializer
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(
                _guarded_exchange(handler.stream_stream, gate), parse, serialize
            )
        if not handler.response_streaming:
            return grpc.unary_unary_rpc_method_handler(
                _guarded_call(handler.unary_unary, gate), parse, serialize
            )
        call = handler.unary_stream
        if inspect.isasyncgenfunction(call):
            # Serialized here, so that a method may also yield ready bytes.
            written = self._written(call, serialize)
            return grpc.unary_stream_rpc_method_handler(_guarded_call(written, gate), parse, None)
        return grpc.unary_stream_rpc_method_handler(_guarded_call(call, gate), parse, serialize)

    def _gate(self, method: str) -> Gate:
        if method not in self._gates:
            self._gates[method] = Gate(method, self._limits.get(method, USUAL_LIMIT))
        return self._gates[method]

    def _written(self, call: Any, serialize: Any) -> Any:
        """Turn a generator of responses into a handler that writes each in bounded time."""

        async def written(request: Any, context: Any) -> None:
            has_begun = False
            async with aclosing(call(request, context)) as responses:
                async for response in responses:
                    if not has_begun:
                        # The metadata is sent by itself. If it went with a message that is given
                        # up, no status could follow, and the reader would wait for ever.
                        await context.send_initial_metadata(())
                        has_begun = True
                    is_ready = isinstance(response, bytes)
                    await self._write(context, response if is_ready else serialize(response))

        return written

    async def _write(self, context: Any, message: bytes) -> None:
        try:
            async with asyncio.timeout(self._write_timeout_s):
                await context.write(message)
        except TimeoutError as timeout:
            raise ReaderStalled(
                f"the client read nothing for {self._write_timeout_s:g} s: resume from the last "
                "byte or event"
            ) from timeout


def bounded(parse: Any, max_bytes: int) -> Any:
    """Wrap a parser of requests. It does not parse long ones, and it marks malformed ones."""

    def parse_bounded(data: bytes) -> Any:
        if len(data) > max_bytes:
            return _TooLarge(len(data))
        try:
            return parse(data)
        except DecodeError:
            return _Malformed()

    return parse_bounded


def _check_parsed(request: Any, gate: Gate) -> None:
    if isinstance(request, _TooLarge):
        raise RequestTooLarge(
            f"the request has {request.num_bytes} bytes, the limit of "
            f"{gate.method.rpartition('/')[2]} is {gate.limit.request_bytes}: send less"
        )
    if isinstance(request, _Malformed):
        raise InvalidRequest("the request is not a message of this rpc's type: check the client")


@asynccontextmanager
async def _refusing(context: Any, method: str) -> AsyncIterator[None]:
    """End a call with the status of the error that was raised inside."""
    try:
        yield
        return
    except grpc.aio.AbortError:
        raise
    except Refused as refusal:
        refused = refusal
    except OSError as failure:
        refused = refused_of(failure)
        _log_fault(method, failure)
    # This is the border where a call meets its owner. An error of a bug or a library fails this
    # call only, and its text stays here.
    except Exception as failure:  # noqa: BLE001
        refused = InternalFault("the backend met a fault of its own: see its log")
        _log_fault(method, failure)
    await context.abort_with_status(rpc_status.to_status(status_of(refused)))


def _log_fault(method: str, failure: Exception) -> None:
    # The text is left out, because it may hold a prompt.
    frames = traceback.format_tb(failure.__traceback__)[-8:]
    log.error("call_failed", method=method, kind=type(failure).__name__, frames=frames)


def _guarded_call(call: Any, gate: Gate) -> Any:
    async def guarded(request: Any, context: Any) -> Any:
        async with _refusing(context, gate.method):
            with gate.entered():
                _check_parsed(request, gate)
                return await call(request, context)

    return guarded


def _guarded_exchange(call: Any, gate: Gate) -> Any:
    async def guarded(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async def checked() -> AsyncIterator[Any]:
            async for request in requests:
                _check_parsed(request, gate)
                yield request

        async with _refusing(context, gate.method):
            with gate.entered():
                async for response in call(checked(), context):
                    yield response

    return guarded
