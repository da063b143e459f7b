"""An offline recogniser understands what is spoken, so that a garbled voice fails the build.

pocketsphinx cannot transcribe a formant voice freely; it can tell which of several sentences it heard, word by word.
"""

from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray
from pocketsphinx import Decoder  # type: ignore[import-untyped]

from tests.integration.services.voice.client import heard, request

if TYPE_CHECKING:
    from atelier.voice.v1.voice_service_pb2_grpc import VoiceServiceAsyncStub

RATE = 16000
SENTENCE = "Welcome to the studio. A prompt goes in, a picture comes out."
HEARD = "welcome to the studio a prompt goes in a picture comes out"
CHOICES = (
    "(welcome | goodbye | perhaps | seven) (to | from | under) the (studio | kitchen | elephant | river)"
    " a (prompt | banana | hammer | letter) (goes | falls | sleeps | sings) (in | down | over)"
    " a (picture | window | paper | orange) (comes | runs | waits | burns) (out | never | home)"
)


def recognised(samples: NDArray[np.float64]) -> str:
    """Return the sentence of the grammar that was heard, empty for none of them."""
    quiet = np.random.default_rng(0).normal(0, 0.001, len(samples) + RATE)
    quiet[RATE // 2 : -RATE // 2] += samples / 2
    decoder = Decoder(samprate=RATE, loglevel="FATAL", lm=None)
    decoder.add_jsgf_string("choices", f"#JSGF V1.0; grammar choices; public <sentence> = {CHOICES};")
    decoder.activate_search("choices")
    decoder.start_utt()
    decoder.process_raw((quiet * 32767).astype("<i2").tobytes(), full_utt=True)
    decoder.end_utt()
    best = decoder.hyp()
    return str(best.hypstr) if best else ""


@pytest.mark.parametrize("who", ["espeak/en-us", "espeak/en-us+female", "espeak/en-gb"])
async def test_the_demo_sentence_is_understood(voice: "VoiceServiceAsyncStub", who: str) -> None:
    found = await heard(voice.Synthesize(request(SENTENCE, {"sample_rate": RATE, "rate": 0.9}, voice=who)))
    assert recognised(found.samples()) == HEARD


async def test_garbled_speech_is_not_understood(voice: "VoiceServiceAsyncStub") -> None:
    found = await heard(voice.Synthesize(request(SENTENCE, {"sample_rate": RATE})))
    assert recognised(found.samples()[::-1]) != HEARD
