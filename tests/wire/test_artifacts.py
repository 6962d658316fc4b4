import pytest

from layert2v_domain.artifact import ArtifactFormat, ArtifactKind
from layert2v_wire.artifacts import (
    format_from_proto,
    format_to_proto,
    kind_from_proto,
    kind_to_proto,
)


@pytest.mark.parametrize("kind", ArtifactKind)
def test_a_kind_survives_the_wire(kind: ArtifactKind) -> None:
    assert kind_from_proto(kind_to_proto(kind)) is kind


@pytest.mark.parametrize("form", ArtifactFormat)
def test_a_format_survives_the_wire(form: ArtifactFormat) -> None:
    assert format_from_proto(format_to_proto(form)) is form
