"""Sizes of Wan2.1-T2V-1.3B, from its configs."""

WAN = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 12,
    "attention_head_dim": 128,
    "in_channels": 16,
    "ffn_dim": 8960,
    "num_layers": 30,
    "cross_stream_window": None,
}
WAN_VAE = {
    "base_dim": 96,
    "dim_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "temperal_downsample": [False, True, True],
}
