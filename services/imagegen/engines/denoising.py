"""A picture in the making: legs of scheduled steps, each by one network."""

import inspect
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import torch

from services.imagegen.domain import Job
from services.imagegen.engines.prompt_cache import Embeddings
from services.imagegen.engines.taylor import Series, following


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of a forward pass."""

    job: Job
    latents: torch.Tensor
    """Shape (1, channels, height, width), scaled as the network expects them."""
    timestep: torch.Tensor
    """Scalar, 1000 to 0."""
    text: Embeddings
    negative: bool
    """True for the half of the guidance that leads away from the negative prompt."""


class Network(Protocol):
    """A UNet or transformer that takes a timestep per sample."""

    def __call__(self, samples: Sequence[Sample]) -> torch.Tensor:
        """Return what the scheduler steps on, shape (samples, channels, height, width)."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a network predicts for one step of one picture."""

    toward: torch.Tensor
    """Shape (1, channels, height, width)."""
    away: torch.Tensor | None
    """The same for the negative prompt; None without a second pass."""

    def guided(self, guidance: float) -> torch.Tensor:
        """Return what the scheduler steps on."""
        return self.toward if self.away is None else self.away + guidance * (self.toward - self.away)


@dataclass(eq=False, slots=True)
class Leg:
    """A stretch of steps by one network, with a scheduler of its own."""

    network: Network
    scheduler: Any
    timesteps: torch.Tensor
    """The timesteps that are taken, first to last."""
    text: Embeddings
    negative: Embeddings | None
    """Embeddings of the negative prompt; None without a second forward pass."""
    taken: int = 0
    toward: Series | None = None
    """The predictions so far, for forecasts; None before the first one, or if nothing is forecast."""
    away: Series | None = None
    """The same for the negative prompt, by itself: guidance may end before the leg does."""

    @property
    def timestep(self) -> torch.Tensor:
        """The timestep of the next step, the last one once all are taken."""
        timestep: torch.Tensor = self.timesteps[min(self.taken, len(self.timesteps) - 1)]
        return timestep

    def leave_out(self, count: int) -> None:
        """Start after the first `count` timesteps."""
        self.timesteps = self.timesteps[count:]
        if hasattr(self.scheduler, "set_begin_index"):
            self.scheduler.set_begin_index(count)

    def scaled(self, latents: torch.Tensor) -> torch.Tensor:
        """Return latents as the network expects them: some schedulers keep another scale."""
        if not hasattr(self.scheduler, "scale_model_input"):
            return latents
        scaled: torch.Tensor = self.scheduler.scale_model_input(latents, self.timestep)
        return scaled

    def step(self, prediction: torch.Tensor, latents: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return the latents after the next step."""
        options = {"generator": generator} if _draws(self.scheduler.step.__func__) else {}
        latents = self.scheduler.step(prediction, self.timestep, latents, return_dict=False, **options)[0]
        self.taken += 1
        return latents

    def learn(self, prediction: Prediction, order: int) -> None:
        """Take a computed prediction for the next step into the series that later ones are forecast by."""
        self.toward = following(self.toward, self.taken, prediction.toward, order)
        if prediction.away is not None:
            self.away = following(self.away, self.taken, prediction.away, order)

    def begin(self, source: torch.Tensor | None, noise: torch.Tensor) -> torch.Tensor:
        """Return the latents before the first step: pure noise, or a source picture under noise."""
        if source is not None:
            return self.noised(source, noise)
        return noise * getattr(self.scheduler, "init_noise_sigma", 1.0)

    def noised(self, latents: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Return clean latents as noisy as the next step expects them."""
        scheduler, timesteps = self.scheduler, self.timestep[None]
        noisy: torch.Tensor = (
            scheduler.scale_noise(latents, timesteps, noise)
            if hasattr(scheduler, "scale_noise")
            else scheduler.add_noise(latents, noise, timesteps)
        )
        return noisy

    def estimate(self, prediction: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """Return where the latents before a step were heading, by the definition of what the network predicts."""
        kind = self.scheduler.config.get("prediction_type", "flow_prediction")
        if kind == "flow_prediction":
            share: torch.Tensor = self.timestep / self.scheduler.config.num_train_timesteps
            return latents - share * prediction
        kept = self.scheduler.alphas_cumprod.to(latents.device)[self.timestep.long()]
        signal: torch.Tensor = kept.sqrt()
        noise: torch.Tensor = (1 - kept).sqrt()
        scaled = self.scaled(latents)
        if kind == "v_prediction":
            return signal * scaled - noise * prediction
        return (scaled - noise * prediction) / signal if kind == "epsilon" else prediction


@cache
def _draws(step: Callable[..., Any]) -> bool:
    """Tell whether a scheduler's step may draw noise."""
    return "generator" in inspect.signature(step).parameters


@dataclass(frozen=True, slots=True)
class Kept:
    """What inpainting leaves as it was."""

    latents: torch.Tensor
    """The source picture, clean."""
    noise: torch.Tensor
    mask: torch.Tensor
    """1 where it is painted anew, 0 where it is kept."""

    def restored(self, latents: torch.Tensor, leg: Leg) -> torch.Tensor:
        """Return latents with the kept part put back, as noisy as the rest."""
        last = leg.taken == len(leg.timesteps)
        source = self.latents if last else leg.noised(self.latents, self.noise)
        return (1 - self.mask) * source + self.mask * latents


@dataclass(eq=False, slots=True)
class Denoising:
    """One picture in the making. See `ports.State`."""

    job: Job
    prompt_tokens: int
    latents: torch.Tensor
    """Shape (1, channels, height, width), on the scheduler's scale."""
    legs: Sequence[Leg]
    generator: torch.Generator
    kept: Kept | None = None
    clean: torch.Tensor | None = None
    """Estimate of the final latents, made only when previews are wanted."""

    @property
    def leg(self) -> Leg:
        """The leg of the next step."""
        return next((leg for leg in self.legs if leg.taken < len(leg.timesteps)), self.legs[-1])

    @property
    def negative(self) -> Embeddings | None:
        """Embeddings of the negative prompt; None where the next step takes no second pass."""
        return self.leg.negative if self.done < round(self.job.guided * self.total) else None

    @property
    def forecasts(self) -> bool:
        """Tell whether the next step's prediction is forecast from those before it."""
        cache, leg = self.job.cache, self.leg
        return cache is not None and not cache.computes(leg.taken, len(leg.timesteps))

    @property
    def done(self) -> int:
        """Denoising steps taken."""
        return sum(leg.taken for leg in self.legs)

    @property
    def total(self) -> int:
        """Denoising steps in all."""
        return sum(len(leg.timesteps) for leg in self.legs)

    @property
    def rows(self) -> int:
        """Rows of a forward pass that the next step takes."""
        return 1 if self.negative is None else 2

    @property
    def batch_key(self) -> Hashable:
        """States with equal keys may share a forward pass, whatever their steps, schedulers and guidance."""
        job, leg = self.job, self.leg
        key = (id(leg.network), self.latents.shape, leg.text[0].shape, job.adapters)
        return (key, id(self)) if job.alone else key

    def forecast(self) -> Prediction:
        """Return the next step's prediction by the series of those before. Only where `forecasts` says so."""
        leg = self.leg
        if leg.toward is None:
            raise RuntimeError("forecast before the first prediction")
        away = leg.away.at(leg.taken) if leg.away is not None and self.negative is not None else None
        return Prediction(leg.toward.at(leg.taken), away)

    def learn(self, prediction: Prediction) -> None:
        """Keep a computed prediction for later forecasts, if there will be any."""
        if self.job.cache is not None:
            self.leg.learn(prediction, self.job.cache.order)

    def advance(self, prediction: Prediction) -> None:
        """Take a step."""
        leg, guided = self.leg, prediction.guided(self.job.guidance)
        if self.job.preview_every:
            self.clean = leg.estimate(guided, self.latents)
        self.latents = leg.step(guided, self.latents, self.generator)
        if self.kept is not None:
            self.latents = self.kept.restored(self.latents, leg)


def predict(states: Sequence[Denoising]) -> list[Prediction]:
    """Return each state's prediction from one forward pass.

    All states have the same batch key. The negative halves of those that are guided go first, as in diffusers'
    pipelines.
    """
    legs, negatives = [state.leg for state in states], [state.negative for state in states]
    inputs = [leg.scaled(state.latents) for leg, state in zip(legs, states, strict=True)]

    def samples(texts: Sequence[Embeddings | None], *, negative: bool) -> list[Sample]:
        rows = zip(states, inputs, legs, texts, strict=True)
        return [
            Sample(state.job, latents, leg.timestep, text, negative)
            for state, latents, leg, text in rows
            if text is not None
        ]

    away = samples(negatives, negative=True)
    outputs = legs[0].network([*away, *samples([leg.text for leg in legs], negative=False)]).split(1)
    from_negatives, toward = iter(outputs[: len(away)]), outputs[len(away) :]
    return [
        Prediction(each, None if negative is None else next(from_negatives))
        for each, negative in zip(toward, negatives, strict=True)
    ]
