"""Strategies for shots as a client may ask for them."""

from hypothesis import strategies as st

from layert2v_domain.shot import MAX_SEED, KeptLayer, LayerRole, LayerSpec, Shot

_SEEDS = st.integers(0, MAX_SEED)
_LAYERS = st.builds(
    LayerSpec,
    st.sampled_from(LayerRole),
    st.text(),
    st.none() | _SEEDS,
    st.none() | st.builds(KeptLayer, st.text(), st.integers(0, 9)),
)
SHOTS = st.builds(
    Shot,
    st.lists(_LAYERS, max_size=4).map(tuple),
    prompt=st.text(),
    negative_prompt=st.text(),
    model=st.text(),
    width=st.integers(0, 4096),
    height=st.integers(0, 4096),
    num_frames=st.integers(0, 4096),
    seed=_SEEDS,
    num_inference_steps=st.integers(0, 200),
    guidance_scale=st.floats(0, 20),
    skip_finishing=st.booleans(),
)
