"""The border of every rpc: refusals become statuses, malformed protobuf INVALID_ARGUMENT."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError
from grpc_status import rpc_status  # type: ignore[import-untyped]

from layert2v_backend.errors import InvalidRequest, Refused, status_of

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"
_Continue: TypeAlias = "Callable[[grpc.HandlerCallDetails], Awaitable[_Handler]]"


class _Malformed:
    """Stands for a request that is no protobuf of its type."""


class Border(grpc.aio.ServerInterceptor):
    """Turns refusals into statuses with details, and malformed protobuf into INVALID_ARGUMENT."""

    async def intercept_service(
        self, continuation: _Continue, handler_call_details: grpc.HandlerCallDetails
    ) -> _Handler:
        """Wrap the handlers of unary requests."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_streaming:
            return handler
        parse = _tolerant(handler.request_deserializer)
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                _guarded_stream(handler.unary_stream), parse, handler.response_serializer
            )
        return grpc.unary_unary_rpc_method_handler(
            _guarded_call(handler.unary_unary), parse, handler.response_serializer
        )


def _tolerant(parse: Any) -> Any:
    def tolerant(data: bytes) -> Any:
        try:
            return parse(data)
        except DecodeError:
            return _Malformed()

    return tolerant


def _check_parsed(request: Any) -> None:
    if isinstance(request, _Malformed):
        raise InvalidRequest("the request is no message of this rpc's type: check the client")


def _guarded_call(call: Any) -> Any:
    async def guarded(request: Any, context: Any) -> Any:
        try:
            _check_parsed(request)
            return await call(request, context)
        except Refused as refused:
            return await context.abort_with_status(rpc_status.to_status(status_of(refused)))

    return guarded


def _guarded_stream(call: Any) -> Any:
    async def guarded(request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            _check_parsed(request)
            async for response in call(request, context):
                yield response
        except Refused as refused:
            await context.abort_with_status(rpc_status.to_status(status_of(refused)))

    return guarded
