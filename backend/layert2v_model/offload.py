"""Fitting the transformer onto a small accelerator, by the library's hooks."""

import torch

from layert2v_model.transformer import LayerT2VTransformer3DModel


def enable_layerwise_casting(
    transformer: LayerT2VTransformer3DModel,
    storage_dtype: torch.dtype = torch.float8_e4m3fn,
    compute_dtype: torch.dtype | None = None,
) -> None:
    """Keep the blocks' linear maps in 8 bits and cast each up when it is used: approximate.

    Norms, embeddings of patches, time and text, and the layer modulation keep their precision.

    Args:
        transformer: Changed in place; its weights stay rounded if the hooks are removed.
        storage_dtype: Of the stored weights; the default has 3 bits of mantissa.
        compute_dtype: Of the arithmetic; None: the transformer's own.
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
        device: Where it runs.
        num_blocks_per_group: Blocks on the device at once, from 1; more is faster and larger.
    """
    transformer.enable_group_offload(
        onload_device=device,
        offload_device=torch.device("cpu"),
        offload_type="block_level",
        num_blocks_per_group=num_blocks_per_group,
        use_stream=device.type == "cuda",
    )
