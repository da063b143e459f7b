import pytest

from servekit.device import serves

WHEEL = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120")
OLD_WHEEL = ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90")
ROCM = ("gfx90a", "gfx942", "gfx1100")


@pytest.mark.parametrize(
    ("arch_list", "capability", "via"),
    [
        pytest.param(WHEEL, (7, 5), "cubin", id="Turing"),
        pytest.param(WHEEL, (8, 0), "cubin", id="A100"),
        pytest.param(WHEEL, (8, 6), "cubin", id="RTX 3090"),
        pytest.param(WHEEL, (8, 9), "cubin", id="RTX 4090: never listed, served by 8.6"),
        pytest.param(("sm_80",), (8, 9), "cubin", id="RTX 4090: served by 8.0"),
        pytest.param(WHEEL, (9, 0), "cubin", id="H200"),
        pytest.param(WHEEL, (10, 0), "cubin", id="B200"),
        pytest.param(WHEEL, (10, 3), "cubin", id="B300: served by 10.0"),
        pytest.param(WHEEL, (12, 0), "cubin", id="RTX 5090"),
        pytest.param(WHEEL, (12, 1), "cubin", id="GB10: served by 12.0"),
        pytest.param(OLD_WHEEL, (12, 0), None, id="RTX 5090 on a build from before it"),
        pytest.param(WHEEL, (7, 0), None, id="V100: older than anything listed"),
        pytest.param(("sm_86",), (8, 0), None, id="no code for an older minor"),
        pytest.param(OLD_WHEEL, (8, 7), None, id="Orin: no binary code but its own"),
        pytest.param(("sm_87",), (8, 7), "cubin", id="Orin on a build for it"),
        pytest.param(("sm_87",), (8, 9), None, id="Orin's code runs on Orin only"),
        pytest.param(("sm_80", "compute_80"), (8, 7), "ptx", id="Orin through PTX"),
        pytest.param(("compute_80",), (8, 0), "ptx", id="PTX only, same"),
        pytest.param(("compute_80",), (12, 0), "ptx", id="PTX only, any newer"),
        pytest.param(("compute_90",), (8, 9), None, id="PTX only, older"),
        pytest.param(("sm_90a",), (9, 0), "cubin", id="a: the device itself"),
        pytest.param(("sm_100a",), (10, 3), None, id="a: nothing else"),
        pytest.param(("compute_90a",), (9, 0), "ptx", id="a: PTX, the device itself"),
        pytest.param(("compute_90a",), (10, 0), None, id="a: PTX, nothing newer"),
        pytest.param(("sm_100f",), (10, 3), "cubin", id="f: the family"),
        pytest.param(("sm_100f",), (12, 0), None, id="f: no other family"),
        pytest.param(("compute_100f",), (10, 3), "ptx", id="f: PTX, the family"),
        pytest.param(("compute_100f",), (12, 0), None, id="f: PTX, no other family"),
        pytest.param((), (9, 0), None, id="CPU-only build"),
        pytest.param(("nonsense", "sm_90"), (9, 0), "cubin", id="unknown entries are passed over"),
    ],
)
def test_rule(arch_list: tuple[str, ...], capability: tuple[int, int], via: str | None) -> None:
    verdict = serves(arch_list, capability)
    assert (verdict.ok, verdict.via) == (via is not None, via)


@pytest.mark.parametrize(
    ("gfx", "ok"), [("gfx942", True), ("gfx90a:sramecc+:xnack-", True), ("gfx906", False), ("", False)]
)
def test_rocm_needs_the_same_name(gfx: str, ok: bool) -> None:
    assert serves(ROCM, (9, 4), gfx=gfx, is_rocm=True).ok is ok


@pytest.mark.parametrize(
    ("arch_list", "capability", "words"),
    [
        ((), (9, 0), "CPU-only"),
        (OLD_WHEEL, (12, 0), "no code for compute capability 12.0 among sm_50"),
        (WHEEL, (8, 9), "sm_86 has binary code for 8.9"),
        (("compute_80",), (9, 0), "compute_80 is compiled for 9.0 on the first run, which is slow"),
    ],
)
def test_reason(arch_list: tuple[str, ...], capability: tuple[int, int], words: str) -> None:
    assert words in serves(arch_list, capability).reason


def test_the_newest_binary_code_is_named_rather_than_ptx() -> None:
    assert serves(("sm_80", "sm_86", "compute_86"), (8, 9)).reason.startswith("sm_86")
