"""The device that a service works on, for whoever tells of it."""

from collections.abc import Callable

from servekit.device.gpu import Gpu, find_gpu
from servekit.device.plan import DevicePlan


class CurrentDevice:
    """The plan in force, and its GPU as the driver knows it; may be read from any thread.

    Most services make one plan at the start; one whose engines choose their device when they are loaded changes it.
    """

    def __init__(self, plan: DevicePlan, find: Callable[[DevicePlan], Gpu | None] = find_gpu) -> None:
        self.plan = plan
        self.gpu = find(plan)
        self._find = find

    def change(self, plan: DevicePlan) -> None:
        """Go over to another device. A GPU that was left goes on telling its figures, or that it is lost."""
        self.plan = plan
        self.gpu = self._find(plan) or self.gpu
