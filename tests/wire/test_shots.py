from hypothesis import given

from layert2v.v1 import shot_pb2
from layert2v_domain.shot import LayerRole, Shot
from layert2v_wire.shots import shot_from_proto, shot_to_proto
from support.any_shots import SHOTS


@given(SHOTS)
def test_a_shot_survives_the_wire(shot: Shot) -> None:
    sent = shot_pb2.Shot.FromString(shot_to_proto(shot).SerializeToString())

    assert shot_from_proto(sent) == shot


def test_a_role_of_another_version_is_unknown() -> None:
    message = shot_pb2.Shot(layers=[shot_pb2.LayerSpec(role=99)])  # type: ignore[arg-type]

    assert shot_from_proto(message).layers[0].role is LayerRole.UNKNOWN
