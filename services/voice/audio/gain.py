"""Volume without harsh clipping."""

import numpy as np

from services.voice.domain import Samples

KNEE = np.float32(0.8)
"""Up to here the limiter changes nothing; above it bends towards 1, which it never reaches."""


def amplify(samples: Samples, factor: float) -> Samples:
    """Multiply, and bend what would come near full scale. Memoryless, so blocks join without a seam."""
    return limit(samples * np.float32(factor)) if factor != 1.0 else samples


def limit(samples: Samples) -> Samples:
    """Bend amplitudes above the knee smoothly below 1 (a tanh with matching slope)."""
    over = np.abs(samples) - KNEE
    if not (over > 0).any():
        return samples
    room = 1 - KNEE
    bent = np.copysign(KNEE + room * np.tanh(over / room), samples)
    return np.where(over > 0, bent, samples).astype(np.float32)
