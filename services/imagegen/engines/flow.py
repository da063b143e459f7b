"""Flow matching: what FLUX, Stable Diffusion 3 and HiDream plan alike."""

from typing import Any

from services.imagegen.domain import Job
from services.imagegen.engines.denoising import Leg, Network
from services.imagegen.engines.prompt_cache import Embeddings


def flow_leg(network: Network, scheduler: Any, job: Job, text: Embeddings, negative: Embeddings | None) -> Leg:
    """Return the leg over a scheduler's steps; a source picture leaves out the first ones, by its strength."""
    skipped = 0 if job.source is None else min(int(job.steps - job.steps * job.source.strength), job.steps - 1)
    leg = Leg(network, scheduler, scheduler.timesteps, text, negative)
    leg.leave_out(skipped * scheduler.order)
    return leg
