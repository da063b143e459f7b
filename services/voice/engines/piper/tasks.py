"""What the server asks of a Piper process."""

import json
from dataclasses import asdict, dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Task:
    """What a process is to speak, in Piper's own units."""

    text: str
    file: str
    """Path of the voice's `.onnx` file, one of those that the process was started with."""
    speaker: int | None
    """Number of the speaker in files that have several."""
    slowness: float
    """Piper's `length_scale` as a factor of the voice's own; 2 is half as fast."""

    def to_bytes(self) -> bytes:
        """Return the payload of a `SPEAK` frame."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, payload: bytes) -> Self:
        """Read the payload of a `SPEAK` frame."""
        return cls(**json.loads(payload))
