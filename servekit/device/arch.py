"""Whether a build of PyTorch has kernels for a GPU: a pure rule over its architecture list.

The rule explains; the probe decides. Sources: CUDA C++ Programming Guide, "Compute Capabilities" (binary and PTX
compatibility, architecture- and family-specific features), and `DEVICE_REQUIREMENT` in torch/cuda/__init__.py.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

INTEGRATED = frozenset({(5, 3), (6, 2), (7, 2), (8, 7), (10, 1)})
"""Capabilities of Jetson and other integrated GPUs: their binaries run nowhere else, and no other binary on them."""

_ENTRY = re.compile(r"(?P<kind>sm|compute)_(?P<major>\d+)(?P<minor>\d)(?P<suffix>[af]?)")


@dataclass(frozen=True, slots=True)
class ArchVerdict:
    """Whether the build serves the GPU, through which kind of code, and why in one clause."""

    ok: bool
    via: Literal["cubin", "ptx"] | None
    reason: str


@dataclass(frozen=True, slots=True)
class _Code:
    name: str
    ptx: bool
    capability: tuple[int, int]
    suffix: str

    def runs_on(self, device: tuple[int, int]) -> bool:
        if device == self.capability:
            return True
        if self.suffix == "a":  # architecture-specific: exactly that device
            return False
        same_major_and_newer = device[0] == self.capability[0] and device > self.capability
        if self.ptx and not self.suffix:
            return device > self.capability
        if self.ptx:  # family-specific PTX
            return same_major_and_newer
        return same_major_and_newer and device not in INTEGRATED and self.capability not in INTEGRATED


def serves(
    arch_list: Sequence[str], capability: tuple[int, int], *, gfx: str = "", is_rocm: bool = False
) -> ArchVerdict:
    """Return whether a build with this `torch.cuda.get_arch_list()` has code for a GPU.

    `capability` is (major, minor). On ROCm the GPU's `gfx` name counts instead (`gcnArchName`; features after a colon
    are ignored). Binary code is preferred to PTX, which is compiled on the first run.
    """
    if not arch_list:
        return ArchVerdict(False, None, "this PyTorch build has no GPU code at all (a CPU-only build)")
    if is_rocm:
        return _serves_gfx(arch_list, gfx)
    codes = [code for code in map(_parse, arch_list) if code is not None and code.runs_on(capability)]
    wanted = f"{capability[0]}.{capability[1]}"
    if not codes:
        return ArchVerdict(False, None, f"no code for compute capability {wanted} among {' '.join(arch_list)}")
    best = max(codes, key=lambda code: (not code.ptx, code.capability))
    if best.ptx:
        return ArchVerdict(True, "ptx", f"{best.name} is compiled for {wanted} on the first run, which is slow")
    return ArchVerdict(True, "cubin", f"{best.name} has binary code for {wanted}")


def _serves_gfx(arch_list: Sequence[str], gfx: str) -> ArchVerdict:
    name, _, _ = gfx.partition(":")
    if name in {arch.partition(":")[0] for arch in arch_list}:
        return ArchVerdict(True, "cubin", f"the build has binary code for {name}")
    return ArchVerdict(False, None, f"no code for {name or 'an unnamed ROCm device'} among {' '.join(arch_list)}")


def _parse(arch: str) -> _Code | None:
    match = _ENTRY.fullmatch(arch)
    if match is None:
        return None
    capability = (int(match["major"]), int(match["minor"]))
    return _Code(arch, match["kind"] == "compute", capability, match["suffix"])
