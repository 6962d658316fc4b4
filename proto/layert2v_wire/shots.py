"""Converts shots to protobuf and back, exactly in both directions for known roles."""

from layert2v.v1 import shot_pb2
from layert2v_domain.shot import KeptLayer, LayerRole, LayerSpec, Shot

_ROLES: dict[LayerRole, shot_pb2.LayerRole.ValueType] = {
    LayerRole.UNKNOWN: shot_pb2.LAYER_ROLE_UNSPECIFIED,
    LayerRole.BACKGROUND: shot_pb2.LAYER_ROLE_BACKGROUND,
    LayerRole.FOREGROUND: shot_pb2.LAYER_ROLE_FOREGROUND,
}
_ROLES_BACK = {number: role for role, number in _ROLES.items()}


def shot_to_proto(shot: Shot) -> shot_pb2.Shot:
    """Write a shot for the wire."""
    return shot_pb2.Shot(
        model=shot.model,
        prompt=shot.prompt,
        negative_prompt=shot.negative_prompt,
        layers=[_layer_to_proto(layer) for layer in shot.layers],
        width=shot.width,
        height=shot.height,
        num_frames=shot.num_frames,
        seed=shot.seed,
        num_inference_steps=shot.num_inference_steps,
        guidance_scale=shot.guidance_scale,
        skip_finishing=shot.skip_finishing,
    )


def shot_from_proto(message: shot_pb2.Shot) -> Shot:
    """Read a shot from the wire. A role of another version becomes `LayerRole.UNKNOWN`."""
    return Shot(
        layers=tuple(_layer_from_proto(layer) for layer in message.layers),
        prompt=message.prompt,
        negative_prompt=message.negative_prompt,
        model=message.model,
        width=message.width,
        height=message.height,
        num_frames=message.num_frames,
        seed=message.seed,
        num_inference_steps=message.num_inference_steps,
        guidance_scale=message.guidance_scale,
        skip_finishing=message.skip_finishing,
    )


def _layer_to_proto(layer: LayerSpec) -> shot_pb2.LayerSpec:
    message = shot_pb2.LayerSpec(role=_ROLES[layer.role], prompt=layer.prompt, seed=layer.seed)
    if layer.kept is not None:
        message.kept.job = layer.kept.job
        message.kept.layer_index = layer.kept.layer_index
    return message


def _layer_from_proto(message: shot_pb2.LayerSpec) -> LayerSpec:
    kept = None
    if message.HasField("kept"):
        kept = KeptLayer(message.kept.job, message.kept.layer_index)
    return LayerSpec(
        role=_ROLES_BACK.get(message.role, LayerRole.UNKNOWN),
        prompt=message.prompt,
        seed=message.seed if message.HasField("seed") else None,
        kept=kept,
    )
