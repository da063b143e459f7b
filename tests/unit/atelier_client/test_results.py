import hashlib
import io
import wave
from pathlib import Path

import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from atelier.common.v1 import types_pb2
from atelier.imagegen.v1 import image_service_pb2 as image_pb2
from atelier.voice.v1 import voice_pb2
from atelier.voice.v1 import voice_service_pb2 as speech_pb2
from atelier_client import AtelierError
from atelier_client._results import ImageCollector, SpeechCollector


def picture_events(data: bytes, size: int, *, index: int = 0) -> list[image_pb2.GenerateResponse]:
    header = image_pb2.ImageHeader(index=index, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    events = [image_pb2.GenerateResponse(image=header)]
    for offset in range(0, len(data), size):
        chunk = types_pb2.Chunk(data=data[offset : offset + size], offset=offset)
        events.append(image_pb2.GenerateResponse(chunk=chunk))
    return events


SUMMARY = image_pb2.GenerateResponse(summary=image_pb2.Summary(model="m"))


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=4), st.integers(1, 64))
def test_pictures_come_out_as_they_went_in(files: list[bytes], size: int) -> None:
    collector = ImageCollector()
    for index, data in enumerate(files):
        for event in picture_events(data, size, index=index):
            collector.feed(event)
    collector.feed(SUMMARY)
    assert [picture.data for picture in collector.finish().pictures] == files


def test_a_damaged_picture_is_refused() -> None:
    first, *chunks = picture_events(b"0123456789", 4)
    first.image.sha256 = "0" * 64
    collector = ImageCollector()
    collector.feed(first)
    collector.feed(chunks[0])
    collector.feed(chunks[1])
    with pytest.raises(AtelierError, match="checksum"):
        collector.feed(chunks[2])


def test_a_missing_chunk_is_noticed() -> None:
    events = picture_events(b"0123456789", 4)
    collector = ImageCollector()
    collector.feed(events[0])
    with pytest.raises(AtelierError, match="out of order"):
        collector.feed(events[2])


def test_a_stream_without_summary_is_not_a_result() -> None:
    collector = ImageCollector()
    for event in picture_events(b"0123456789", 4):
        collector.feed(event)
    with pytest.raises(AtelierError, match="before the summary"):
        collector.finish()


def test_saved_wav_has_true_sizes(tmp_path: Path) -> None:
    collector = SpeechCollector()
    header = speech_pb2.AudioHeader(media_type="audio/wav", sample_rate=8000, channels=1)
    collector.feed(speech_pb2.SynthesizeResponse(audio=header))
    streamed = streaming_wav(frames=b"\x01\x00" * 500)
    collector.feed(speech_pb2.SynthesizeResponse(chunk=types_pb2.Chunk(data=streamed, offset=0)))
    collector.feed(speech_pb2.SynthesizeResponse(word=voice_pb2.WordTime(text_offset=3)))
    collector.feed(speech_pb2.SynthesizeResponse(summary=speech_pb2.SpeechSummary(model="m")))
    result = collector.finish()
    with wave.open(str(result.save(tmp_path / "x.wav"))) as file:
        assert (file.getnframes(), file.getframerate()) == (500, 8000)
    assert [word.text_offset for word in result.words] == [3]


def test_saved_flac_has_its_length(tmp_path: Path) -> None:
    collector = SpeechCollector()
    header = speech_pb2.AudioHeader(media_type="audio/flac", sample_rate=8000, channels=1)
    collector.feed(speech_pb2.SynthesizeResponse(audio=header))
    collector.feed(speech_pb2.SynthesizeResponse(chunk=types_pb2.Chunk(data=streaming_flac(8000))))
    summary = speech_pb2.SpeechSummary(audio_seconds=1.0)
    collector.feed(speech_pb2.SynthesizeResponse(summary=summary))
    assert soundfile.info(str(collector.finish().save(tmp_path / "x.flac"))).frames == 8000


def streaming_flac(frames: int) -> bytes:
    """Return a FLAC as a stream sends it: its length is unknown."""
    buffer = io.BytesIO()
    soundfile.write(buffer, [0.0, 0.5] * (frames // 2), 8000, format="FLAC", subtype="PCM_16")
    data = bytearray(buffer.getvalue())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    return bytes(data)


def streaming_wav(frames: bytes) -> bytes:
    """Return a WAV as a stream sends it: both sizes are the largest possible."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(frames)
    data = bytearray(buffer.getvalue())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    return bytes(data)
