"""Weights that leave the device for host memory and come back. The device is the CPU: its copies are apart as well."""

from collections.abc import AsyncIterator, Callable

import pytest
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

from servekit.device import DevicePlan, ModuleHostTier, host_copy, plan_device
from servekit.device.host_copy import HostCopy
from servekit.device.tensors import tensors_of, weight_bytes
from servekit.errors import Cancelled
from servekit.residency import Loaded, ModelEvicted, ModelLoaded, ModelSpec, OnProgress, Residency, ResidencyEvent
from servekit.worker import CancelToken, DeviceWorker

PICTURE = torch.linspace(-1, 1, 3 * 8 * 8).reshape(1, 3, 8, 8)


class Net(nn.Module):
    """Some of everything: channels last, a buffer, 16 bits, and a weight under two names."""

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.norm = nn.BatchNorm2d(4)
        self.first = nn.Linear(8, 8, bias=False, dtype=torch.bfloat16)
        self.second = nn.Linear(8, 8, bias=False, dtype=torch.bfloat16)
        self.second.weight = self.first.weight
        self.eval()

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        middle = self.norm(self.conv(picture)).to(torch.bfloat16)
        result: torch.Tensor = self.second(self.first(middle))
        return result


@pytest.fixture
def net() -> Net:
    return Net()


def made(net: Net) -> torch.Tensor:
    with torch.inference_mode():
        result: torch.Tensor = net(PICTURE)
    return result


def storages(net: Net) -> list[StorageWeakRef]:
    return [StorageWeakRef(each.untyped_storage()) for each in tensors_of([net])]


def restored(copy: HostCopy) -> list[float]:
    return list(copy.restore("cpu"))


def test_parked_weights_leave_the_device(net: Net) -> None:
    on_device = storages(net)
    copy = HostCopy([net], pinned=False)
    assert not any(each.expired() for each in on_device)
    copy.park()
    assert all(each.expired() for each in on_device)


def test_restored_weights_are_as_they_were(net: Net) -> None:
    before, strides = made(net), net.conv.weight.stride()
    copy = HostCopy([net], pinned=False)
    copy.park()
    parked_at = net.conv.weight.data_ptr()
    restored(copy)
    assert torch.equal(made(net), before)
    assert net.conv.weight.stride() == strides
    assert net.conv.weight.data_ptr() != parked_at


def test_leaving_again_copies_nothing(net: Net) -> None:
    copy = HostCopy([net], pinned=False)
    copy.park()
    parked_at = net.conv.weight.data_ptr()
    restored(copy)
    assert copy.holds([net])
    copy.park()
    assert net.conv.weight.data_ptr() == parked_at


def test_what_has_two_names_is_kept_once_and_stays_one(net: Net) -> None:
    net.second.weight = nn.Parameter(net.first.weight.data)
    assert weight_bytes([net]) < sum(each.nbytes for each in tensors_of([net]))
    copy = HostCopy([net], pinned=False)
    copy.park()
    restored(copy)
    assert net.second.weight.data_ptr() == net.first.weight.data_ptr()


def test_new_weights_make_a_copy_old(net: Net) -> None:
    copy = HostCopy([net], pinned=False)
    net.adapter = nn.Linear(8, 2)
    assert not copy.holds([net])


def test_a_change_of_precision_and_back_keeps_the_copy(net: Net) -> None:
    before = made(net)
    copy = HostCopy([net], pinned=False)
    with torch.inference_mode():
        net.first.to(torch.float32)
        assert not copy.holds([net])
        net.first.to(torch.bfloat16)
    assert copy.holds([net])
    copy.park()
    restored(copy)
    assert torch.equal(made(net), before)


def test_a_copy_that_stops_half_way_leaves_the_model_parked(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_copy, "CHUNK_BYTES", 1)
    before = made(net)
    copy = HostCopy([net], pinned=False)
    copy.park()
    parked_at = net.conv.weight.data_ptr()
    steps = copy.restore("cpu")
    assert 0 < next(steps) < 1
    steps.close()
    assert net.conv.weight.data_ptr() == parked_at
    assert torch.equal(made(net), before)


class Nets:
    """A loader of nets named by their seed."""

    async def load(self, model_id: str, on_progress: OnProgress, token: CancelToken) -> Loaded[Net]:
        net = Net(int(model_id))
        return Loaded(net, weight_bytes([net]))

    async def unload(self, value: Net) -> None:
        """Nothing but this reference keeps it."""


@pytest.fixture
async def worker() -> AsyncIterator[DeviceWorker]:
    worker = DeviceWorker("test-device")
    await worker.start()
    yield worker
    await worker.close()


@pytest.fixture(scope="session")
def plan() -> DevicePlan:
    return plan_device("cpu")


@pytest.fixture
def tier(worker: DeviceWorker, plan: DevicePlan) -> ModuleHostTier[Net]:
    return ModuleHostTier(worker, plan, lambda net: [net])


Build = Callable[[int], Residency[Net]]


@pytest.fixture
def events() -> list[ResidencyEvent]:
    return []


@pytest.fixture
async def build(tier: ModuleHostTier[Net], events: list[ResidencyEvent]) -> AsyncIterator[Build]:
    """Return a residency with room for one net on the device and for some copies in host memory."""
    size = weight_bytes([Net()])
    built: list[Residency[Net]] = []

    def run(copies: int) -> Residency[Net]:
        specs = [ModelSpec(each, size, load_s=1.0) for each in "012"]
        host = copies * 2 * size
        residency = Residency(
            specs, Nets(), budget_bytes=size, host=tier, host_budget_bytes=host, on_event=events.append
        )
        built.append(residency)
        return residency

    yield run
    for residency in built:
        await residency.close()
        assert residency.status().host_used_bytes == 0


async def use(residency: Residency[Net], *model_ids: str) -> list[torch.Tensor]:
    results = []
    for model_id in model_ids:
        async with residency.acquire(model_id) as lease:
            results.append(made(lease.value))
    return results


async def test_an_evicted_model_comes_back_by_a_copy(build: Build, events: list[ResidencyEvent]) -> None:
    residency = build(2)
    first, _, again = await use(residency, "0", "1", "0")
    loads = [(each.model_id, each.from_host) for each in events if isinstance(each, ModelLoaded)]
    assert loads == [("0", False), ("1", False), ("0", True)]
    assert torch.equal(first, again)


async def test_both_tiers_are_accounted(build: Build) -> None:
    residency = build(2)
    await use(residency, "0", "1", "0")
    status = residency.status()
    assert [each.host_bytes > 0 for each in status.models] == [True, True, False]
    assert status.host_used_bytes == sum(each.host_bytes for each in status.models) <= status.host_budget_bytes
    assert status.used_bytes == status.model("0").device_bytes > 0
    assert status.model("1").device_bytes == 0


async def test_a_full_tier_gives_up_what_is_worth_least(build: Build, events: list[ResidencyEvent]) -> None:
    residency = build(1)
    await use(residency, "0", "1", "0", "1", "0", "2", "0", "1")
    status = residency.status()
    assert status.host_used_bytes <= status.host_budget_bytes
    assert any(each.from_host for each in events if isinstance(each, ModelLoaded))
    assert any(not each.host_bytes for each in events if isinstance(each, ModelEvicted))


async def test_unloading_frees_both_tiers(build: Build) -> None:
    residency = build(2)
    await use(residency, "0", "1", "0")
    await residency.unload("0")
    await residency.unload("1")
    assert (residency.status().used_bytes, residency.status().host_used_bytes) == (0, 0)


async def test_a_cancelled_return_leaves_the_model_parked(
    tier: ModuleHostTier[Net], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_copy, "CHUNK_BYTES", 1)
    net, token = Net(), CancelToken()
    before = made(net)
    await tier.park("net", net)
    with pytest.raises(Cancelled):
        await tier.restore("net", net, lambda _: token.cancel(), token)
    await tier.restore("net", net, lambda _: None, CancelToken())
    assert torch.equal(made(net), before)
    await tier.drop("net", net)
