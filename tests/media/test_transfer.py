import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from layert2v_media.colour import PRIMARIES, REC709, rec709_matrix
from layert2v_media.transfer import (
    Pixels,
    hlg_to_linear,
    linear_to_srgb,
    pq_to_linear,
    srgb_to_linear,
)


@given(arrays(np.float32, (3, 4, 3), elements=st.floats(-2, 4, width=32)))
def test_linear_undoes_srgb(srgb: Pixels) -> None:
    back = linear_to_srgb(srgb_to_linear(srgb))

    assert np.abs(back - srgb).max() < 1e-5


@pytest.mark.parametrize(
    ("code", "nits"), [(0.0, 0.0), (0.508, 100), (0.5807, 203), (0.7518, 1000), (1.0, 10000)]
)
def test_pq_gives_the_light_of_its_standard(code: float, nits: float) -> None:
    # Source: SMPTE ST 2084:2014 and ITU-R BT.2408-7, table 1.
    light = pq_to_linear(np.full((2, 3, 3), code, np.float32)) * 203

    assert np.allclose(light, nits, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize(("code", "nits"), [(0.0, 0), (0.5, 50.6), (0.75, 203), (1.0, 1000)])
def test_hlg_gives_the_light_of_its_standard(code: float, nits: float) -> None:
    # Source: ITU-R BT.2100-2, table 5, and BT.2408-7, table 1; grey on a display of 1000 nits.
    light = hlg_to_linear(np.full((2, 3, 3), code, np.float32)) * 203

    assert np.allclose(light, nits, rtol=5e-3, atol=1e-2)


@pytest.mark.parametrize("code_point", PRIMARIES)
def test_white_and_greys_of_any_primaries_stay_as_they_are(code_point: int) -> None:
    white = rec709_matrix(PRIMARIES[code_point]).sum(1)

    assert np.allclose(white, 1, atol=1e-5)


def test_rec2020_becomes_rec709_by_the_matrix_of_its_report() -> None:
    # Source: ITU-R BT.2087-0, by inversion of its matrix M2.
    expected = [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]

    assert np.allclose(rec709_matrix(PRIMARIES[9]), expected, atol=5e-4)
    assert np.allclose(rec709_matrix(REC709), np.eye(3), atol=1e-6)
