"""Python client of Atelier: pictures and speech from prompts.

    from atelier_client import Client

    with Client("127.0.0.1:50051") as studio:
        studio.image("a lake at sunset").pictures[0].save("lake.png")
        studio.say("Good evening.").save("evening.wav")

`AsyncClient` has the same methods as coroutines. Both raise `AtelierError`. `Credentials` prove who calls where a
server asks.
"""

from atelier_client._async import AsyncClient
from atelier_client._credentials import Credentials
from atelier_client._errors import AtelierError, FieldViolation
from atelier_client._results import ImageResult, Picture, SpeechResult
from atelier_client._sync import Client

__all__ = [
    "AsyncClient",
    "AtelierError",
    "Client",
    "Credentials",
    "FieldViolation",
    "ImageResult",
    "Picture",
    "SpeechResult",
]
