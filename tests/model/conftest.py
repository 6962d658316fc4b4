"""The toy model and a take of it, shared by the tests of the pipeline."""

from pathlib import Path

import pytest

from layert2v_model.loading import load_pipeline
from layert2v_model.pipeline import LayerT2VPipeline
from layert2v_model.stack import Stack
from support.toy_model import make_toy_model_folder
from support.toy_shot import FORMAT, PROMPTS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toy_model_folder(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> LayerT2VPipeline:
    return load_pipeline(folder)


@pytest.fixture(scope="module")
def take(pipeline: LayerT2VPipeline) -> Stack:
    return pipeline(PROMPTS, **FORMAT)
