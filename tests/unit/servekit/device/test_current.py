from dataclasses import replace

from servekit.device import CurrentDevice, DevicePlan, Gpu

ON_CPU = DevicePlan("cpu", "cpu", "a CPU", "float32", None, (), 1, 1000, 900, "it is there")
ON_GPU = replace(ON_CPU, kind="cuda", device="cuda:0", name="a GPU")
CARD = Gpu(None, None)


def find(plan: DevicePlan) -> Gpu | None:
    return CARD if plan.kind == "cuda" else None


def test_a_gpu_comes_with_its_plan() -> None:
    assert CurrentDevice(ON_CPU, find).gpu is None
    assert CurrentDevice(ON_GPU, find).gpu is CARD


def test_a_device_that_is_chosen_late_is_known_from_then_on() -> None:
    device = CurrentDevice(ON_CPU, find)
    device.change(ON_GPU)
    assert (device.plan, device.gpu) == (ON_GPU, CARD)


def test_a_gpu_that_was_left_is_still_asked_for_its_figures() -> None:
    device = CurrentDevice(ON_GPU, find)
    device.change(ON_CPU)
    assert (device.plan, device.gpu) == (ON_CPU, CARD)
