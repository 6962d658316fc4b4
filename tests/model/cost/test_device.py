from layert2v_model.cost.device import measure_device


def test_this_machine_has_memory_and_a_rate() -> None:
    device = measure_device("cpu", size=64)

    assert device.memory_bytes > 0
    assert device.flops_per_s > 1e6
