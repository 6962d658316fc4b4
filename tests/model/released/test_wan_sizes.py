import json
import shutil
from pathlib import Path

import pytest

from layert2v_model.errors import InvalidCheckpoint
from layert2v_model.released.wan_folder import read_wan_folder
from layert2v_model.released.wan_sizes import read_wan_sizes
from support.released_files import write_diffusers_wan_folder, write_wan_folder


def configs_of(whole: Path, folder: Path) -> Path:
    for path in whole.rglob("config.json"):
        copy = folder / path.relative_to(whole)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    return folder


def test_the_sizes_of_a_whole_folder_are_those_of_its_weights(tmp_path: Path) -> None:
    folder = write_wan_folder(tmp_path / "wan")

    sizes, whole = read_wan_sizes(folder), read_wan_folder(folder)

    assert sizes.settings == whole.settings
    assert sizes.vae == dict(whole.vae.config)
    assert sizes.text_bytes == sum(tensor.nbytes for tensor in whole.text_encoder.values())


def test_configs_alone_tell_the_same(tmp_path: Path) -> None:
    whole = write_diffusers_wan_folder(tmp_path / "whole")

    sizes = read_wan_sizes(configs_of(whole, tmp_path / "configs"))

    expected = read_wan_sizes(whole)
    assert (sizes.settings, sizes.text_bytes) == (expected.settings, expected.text_bytes)
    assert sizes.vae["base_dim"] == expected.vae["base_dim"]


def test_the_authors_config_alone_tells_the_transformer_and_the_rest_is_as_published(
    tmp_path: Path,
) -> None:
    whole = write_wan_folder(tmp_path / "whole")

    sizes = read_wan_sizes(configs_of(whole, tmp_path / "configs"))

    expected = read_wan_sizes(whole).settings
    assert {**sizes.settings, "text_dim": expected["text_dim"]} == expected
    assert sizes.vae["base_dim"] == 96
    assert sizes.text_bytes == pytest.approx(11.36e9, rel=0.001)


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidCheckpoint, match=r"neither transformer/config\.json nor config\.js"):
        read_wan_sizes(tmp_path)

    (tmp_path / "config.json").write_text(json.dumps({"dim": 8}))
    with pytest.raises(Exception, match="num_heads"):
        read_wan_sizes(tmp_path)
