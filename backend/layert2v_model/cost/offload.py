"""Fitting a model onto a small accelerator, by the library's hooks."""

import torch
from diffusers.hooks import apply_group_offloading

from layert2v_model.cost.plan import Offload
from layert2v_model.network.transformer import LayerT2VTransformer3DModel
from layert2v_model.pipeline import LayerT2VPipeline


def place(pipeline: LayerT2VPipeline, device: torch.device, offload: Offload) -> None:
    """Lay a loaded model out on a device: exact, and for good.

    Args:
        pipeline: It is changed in place; load it again for another layout.
        device: Device that it runs on.
        offload: Parts that wait in main memory; `group` keeps the VAEs on the device.
    """
    if offload == "none":
        pipeline.to(device)
    elif offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    else:
        enable_group_offload(pipeline.transformer, device)
        if pipeline.text_encoder is not None:
            apply_group_offloading(
                pipeline.text_encoder, onload_device=device, offload_type="leaf_level"
            )
        pipeline.vae.to(device)
        pipeline.alpha_vae.to(device)


def enable_layerwise_casting(
    transformer: LayerT2VTransformer3DModel,
    storage_dtype: torch.dtype = torch.float8_e4m3fn,
    compute_dtype: torch.dtype | None = None,
) -> None:
    """Keep the blocks' linear maps in 8 bits and cast each up when it is used: approximate.

    Norms, embeddings of patches, time and text, and the layer modulation keep their precision.

    Args:
        transformer: Changed in place. Its weights stay rounded if the hooks are removed.
        storage_dtype: Type of the stored weights. The default has 3 bits of mantissa.
        compute_dtype: Type of the arithmetic; None: the transformer's own.
    """
    transformer.enable_layerwise_casting(
        storage_dtype=storage_dtype, compute_dtype=compute_dtype or transformer.dtype
    )


def enable_group_offload(
    transformer: LayerT2VTransformer3DModel,
    device: torch.device,
    num_blocks_per_group: int = 1,
) -> None:
    """Keep the transformer in main memory and only the running blocks on `device`: exact.

    On CUDA the next group is copied while one runs. Do not move the transformer afterwards.

    Args:
        transformer: Changed in place.
        device: Device that it runs on.
        num_blocks_per_group: Blocks on the device at once, from 1. More is faster and larger.
    """
    transformer.enable_group_offload(
        onload_device=device,
        offload_device=torch.device("cpu"),
        offload_type="block_level",
        num_blocks_per_group=num_blocks_per_group,
        use_stream=device.type == "cuda",
    )
