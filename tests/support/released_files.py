"""A Wan2.1 folder and a training output as their authors write them, at toy size.

Parameters of transformer, VAE and mask VAE are those of `tests/data`, which the authors' own
modules made. peft makes and saves the adapter, and diffusers its average.
"""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, safe_open, save_file
from torch import Tensor, nn
from transformers import T5Tokenizer, UMT5Config, UMT5EncoderModel

from layert2v_model.released.modules import transformer_from_released, vae_from_released

DATA = Path(__file__).parents[1] / "data"

TARGETS = [
    *(f"{attention}.{name}" for attention in ("self_attn", "cross_attn") for name in "qkvo"),
    "ffn.0",
    "ffn.2",
    "head.head",
    *("text_embedding.0", "text_embedding.2", "time_embedding.0", "time_embedding.2"),
    "time_projection.1",
]


def fixture_state(name: str, prefix: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors of a fixture under `prefix`, and the metadata's JSON values."""
    path = DATA / f"{name}.safetensors"
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    values = {key: json.loads(text) for key, text in metadata.items() if text.startswith("{")}
    state = load_file(path)
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}, values


class _Attention(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(dim, dim) for _ in range(4))
        self.norm_q, self.norm_k = nn.RMSNorm(dim), nn.RMSNorm(dim)


class _Block(nn.Module):
    def __init__(self, dim: int, ffn_dim: int) -> None:
        super().__init__()
        self.self_attn = _Attention(dim)
        self.norm3 = nn.LayerNorm(dim)
        self.cross_attn = _Attention(dim)
        self.ffn = nn.Sequential(nn.Linear(dim, ffn_dim), nn.GELU(), nn.Linear(ffn_dim, dim))
        self.modulation = nn.Parameter(torch.zeros(1, 6, dim))


class _Head(nn.Module):
    def __init__(self, dim: int, out: int) -> None:
        super().__init__()
        self.head = nn.Linear(dim, out)
        self.modulation = nn.Parameter(torch.zeros(1, 2, dim))


class _LayerAdaLN(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layer_modulation = nn.Parameter(torch.zeros(4, 6, dim))


class LayeredWanModel(nn.Module):
    """The released transformer's parameters, named and registered as there. It computes nothing."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        dim, patch = config["dim"], tuple(config["patch_size"])
        self.patch_embedding = nn.Conv3d(config["in_dim"], dim, patch, patch)
        self.text_embedding = _two_linear(config["text_dim"], dim)
        self.time_embedding = _two_linear(config["freq_dim"], dim)
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.blocks = nn.ModuleList(
            _Block(dim, config["ffn_dim"]) for _ in range(config["num_layers"])
        )
        self.head = _Head(dim, config["out_dim"] * patch[0] * patch[1] * patch[2])
        self.layer_adaln = _LayerAdaLN(dim)


def _two_linear(width: int, dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, dim), nn.SiLU(), nn.Linear(dim, dim))


def write_wan_folder(folder: Path) -> Path:
    """Write the authors' layout of Wan2.1."""
    folder.mkdir(parents=True)
    state, values = fixture_state("official_layered_dit", "state_dict.")
    del state["layer_adaln.layer_modulation"]
    # As published, the config has neither the patch's size nor the text's width.
    config = {
        "_class_name": "WanModel",
        "model_type": "t2v",
        "eps": 1e-6,
        "text_len": 64,
        **{
            name: values["config"][name]
            for name in ("dim", "ffn_dim", "freq_dim", "in_dim", "num_heads", "num_layers")
        },
        "out_dim": values["config"]["out_dim"],
    }
    (folder / "config.json").write_text(json.dumps(config))
    _write_in_shards(state, folder)
    vae, _ = fixture_state("official_mask_vae", "vae.")
    torch.save(vae, folder / "Wan2.1_VAE.pth")
    torch.save(_released_text(_text_encoder()), folder / "models_t5_umt5-xxl-enc-bf16.pth")
    _tokenizer().save_pretrained(folder / "google" / "umt5-xxl")
    return folder


def write_diffusers_wan_folder(folder: Path) -> Path:
    """Write the same model in diffusers' layout."""
    state, values = fixture_state("official_layered_dit", "state_dict.")
    transformer = transformer_from_released(state, values["config"])
    transformer.save_pretrained(folder / "transformer")
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    plain = {k: v for k, v in load_file(weights).items() if not k.startswith("layer_adaln.")}
    save_file(plain, weights, {"format": "pt"})
    vae, settings = fixture_state("official_mask_vae", "vae.")
    vae_from_released(vae, settings["vae"]).save_pretrained(folder / "vae")
    _text_encoder().save_pretrained(folder / "text_encoder")
    _tokenizer().save_pretrained(folder / "tokenizer")
    return folder


def _write_in_shards(state: dict[str, Tensor], folder: Path) -> None:
    names = sorted(state)
    for number, half in enumerate((names[::2], names[1::2]), start=1):
        path = folder / f"diffusion_pytorch_model-0000{number}-of-00002.safetensors"
        save_file({name: state[name] for name in half}, path, {"format": "pt"})


def _text_encoder() -> UMT5EncoderModel:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        config = UMT5Config(vocab_size=30, d_model=48, d_kv=8, d_ff=64, num_layers=2, num_heads=3)
        return UMT5EncoderModel(config).to(torch.bfloat16)


def _released_text(encoder: UMT5EncoderModel) -> dict[str, Tensor]:
    """Name an umT5 encoder's tensors as Wan's own class does."""
    names = {"shared.weight": "token_embedding.weight"}
    names["encoder.final_layer_norm.weight"] = "norm.weight"
    for k in range(encoder.config.num_layers):
        attention, feed_forward = (f"encoder.block.{k}.layer.{n}" for n in (0, 1))
        names |= {f"{attention}.SelfAttention.{n}.weight": f"attn.{n}.weight" for n in "qkvo"}
        names |= {
            f"{attention}.SelfAttention.relative_attention_bias.weight": "pos_embedding.embedding"
            ".weight",
            f"{attention}.layer_norm.weight": "norm1.weight",
            f"{feed_forward}.layer_norm.weight": "norm2.weight",
            f"{feed_forward}.DenseReluDense.wi_0.weight": "ffn.gate.0.weight",
            f"{feed_forward}.DenseReluDense.wi_1.weight": "ffn.fc1.weight",
            f"{feed_forward}.DenseReluDense.wo.weight": "ffn.fc2.weight",
        }
        inner = [name for name in names if name.startswith(f"encoder.block.{k}.")]
        names |= {name: f"blocks.{k}.{names[name]}" for name in inner}
    state = encoder.state_dict()
    return {released: state[name].clone() for name, released in names.items()}


def _tokenizer() -> T5Tokenizer:
    letters = [(letter, -4.0) for letter in "abcdefghijklmnopqrstuvwxyz"]
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -3.0)]
    return T5Tokenizer(vocab=[*special, *letters], extra_ids=0)


def make_peft_model(rank: int = 3, alpha: float = 6.0) -> PeftModel:
    """Give the release's transformer for training, with random values in all trained weights."""
    state, values = fixture_state("official_layered_dit", "state_dict.")
    model = LayeredWanModel(values["config"])
    state["layer_adaln.layer_modulation"] = torch.zeros(4, 6, values["config"]["dim"])
    model.load_state_dict(state)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=0.05,
        bias="none",
        target_modules=TARGETS,
        modules_to_save=["layer_adaln"],
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        peft_model = get_peft_model(model, config)
        for parameter in peft_model.parameters():
            if parameter.requires_grad:
                nn.init.normal_(parameter, std=0.2)
    return peft_model


def averaged_parameters(peft_model: PeftModel) -> list[nn.Parameter]:
    """Give the parameters that the release averages. It thaws both copies of LayerAdaLN, one too
    many."""
    for name, parameter in peft_model.named_parameters():
        if "layer_adaln" in name:
            parameter.requires_grad_(True)
    return [parameter for parameter in peft_model.parameters() if parameter.requires_grad]


def write_training_output(folder: Path, peft_model: PeftModel) -> Path:
    """Write a checkpoint folder of stage 2, with an average that differs from the last values."""
    peft_model.save_pretrained(folder)
    write_mask_vae_lora(folder / "mask_vae_lora.pt")
    average = EMAModel(averaged_parameters(peft_model), decay=0.9999, use_ema_warmup=True)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        for value in average.shadow_params:
            value.normal_(std=0.2)
    # No gradient ever reaches the second copy of LayerAdaLN.
    average.shadow_params[-2].zero_()
    (folder / "ema").mkdir()
    torch.save(average.state_dict(), folder / "ema" / "ema_model.pt")
    return folder


def write_mask_vae_lora(path: Path) -> None:
    """Write the files of the training's stage 1."""
    lora, values = fixture_state("official_mask_vae", "decoder_lora.")
    project_in, _ = fixture_state("official_mask_vae", "project_in.")
    config = {
        "lora_rank": values["lora"]["rank"],
        "lora_alpha": values["lora"]["alpha"],
        "proj_hidden": values["project_in"]["hidden_channels"],
        "proj_res_blocks": values["project_in"]["res_blocks"],
        "proj_use_attention": values["project_in"]["use_attention"],
        "proj_dropout": 0.0,
    }
    torch.save({"project_in": project_in, "decoder_lora": lora, "config": config}, path)
