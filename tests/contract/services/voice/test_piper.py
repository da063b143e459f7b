"""Piper through its real library and real processes, with tiny voices in its own format."""

import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from servekit.errors import EngineFailure, ModelUnavailable
from services.voice.catalog import CatalogError
from services.voice.domain import EngineSpec, Piece, Samples, Utterance, Word
from services.voice.engines.piper.engine import PAUSE_S, Family, PiperEngine
from tests.contract.services.voice.piper_voices import PHONEME_SAMPLES, make_voice

FAMILY = Family(workers=1)
LOW, HIGH = 16000, 22050


@pytest.fixture
def spec(tmp_path: Path) -> EngineSpec:
    """Four files: two rates, one with two speakers, one of a language that Piper does not have."""
    make_voice(tmp_path)
    make_voice(tmp_path, "de_DE-winzig-medium", rate=HIGH)
    make_voice(tmp_path, "en_GB-pair-low", num_speakers=2, speaker_id_map={"ann": 0, "bob": 1})
    make_voice(tmp_path, "xx-nobody-low", espeak={"voice": "xx"})
    return EngineSpec("piper", str(tmp_path))


@pytest.fixture
async def engine(spec: EngineSpec) -> AsyncIterator[PiperEngine]:
    loaded = await FAMILY.load(spec)
    yield loaded
    await loaded.close()


async def utterance(spec: EngineSpec, text: str, voice: str = "piper/en_US-tiny-low", rate: float = 1.0) -> Utterance:
    chosen = next(each for each in (await FAMILY.roster(spec)).voices if each.id == voice)
    return Utterance(text, chosen, chosen.languages[0], seed=0, rate=rate, ends_sentence=False)


async def spoken(engine: PiperEngine, what: Utterance) -> Samples:
    async with aclosing(engine.speak(what)) as pieces:
        found: list[Piece] = [piece async for piece in pieces]
    return np.concatenate([each for each in found if not isinstance(each, Word)])


def loudest_hz(samples: Samples) -> float:
    spectrum = np.abs(np.fft.rfft(samples))
    return float(np.argmax(spectrum)) * HIGH / len(samples)


async def test_the_folder_is_the_roster(spec: EngineSpec) -> None:
    roster = await FAMILY.roster(spec)
    assert [(each.id, each.languages) for each in roster.voices] == [
        ("piper/de_DE-winzig-medium", ("de-de",)),
        ("piper/en_GB-pair-low#ann", ("en-gb",)),
        ("piper/en_GB-pair-low#bob", ("en-gb",)),
        ("piper/en_US-tiny-low", ("en-us",)),
        ("piper/xx-nobody-low", ("xx",)),
    ]
    assert roster.defaults["en-gb"] == "piper/en_GB-pair-low#ann"
    assert FAMILY.capabilities(spec).sample_rate == HIGH


async def test_every_voice_speaks_at_one_rate(engine: PiperEngine, spec: EngineSpec) -> None:
    low = await spoken(engine, await utterance(spec, "Hello."))
    high = await spoken(engine, await utterance(spec, "Hello.", "piper/de_DE-winzig-medium"))
    assert 0.25 < np.abs(low).max() < 0.35
    assert np.isfinite(low).all()
    assert len(low) / len(high) == pytest.approx(HIGH / LOW, rel=0.01)
    assert len(high) % PHONEME_SAMPLES == 0


async def test_a_longer_text_is_longer_and_several_sentences_are_all_spoken(
    engine: PiperEngine, spec: EngineSpec
) -> None:
    lengths = [len(await spoken(engine, await utterance(spec, text))) for text in ("One.", "One two.", "One. Two.")]
    assert lengths[0] < lengths[1] < lengths[2]


async def test_rate_changes_the_length(engine: PiperEngine, spec: EngineSpec) -> None:
    slow, fast = [len(await spoken(engine, await utterance(spec, "Hello.", rate=rate))) for rate in (0.5, 2.0)]
    assert slow / fast == pytest.approx(4, rel=0.02)


async def test_speakers_of_one_file_differ(engine: PiperEngine, spec: EngineSpec) -> None:
    ann, bob = [loudest_hz(await spoken(engine, await utterance(spec, "Aah.", f"piper/en_GB-pair-low#{who}")))
                for who in ("ann", "bob")]  # fmt: skip
    assert bob - ann == pytest.approx(100, abs=20)


async def test_a_pause_follows_the_end_of_a_sentence_only(engine: PiperEngine, spec: EngineSpec) -> None:
    cut = await utterance(spec, "Hello.")
    ended = await spoken(engine, replace(cut, ends_sentence=True))
    assert len(ended) - len(await spoken(engine, cut)) == round(PAUSE_S * HIGH)


async def test_a_failure_is_told_and_the_next_one_is_spoken(engine: PiperEngine, spec: EngineSpec) -> None:
    with pytest.raises(EngineFailure, match="Failed to set voice"):
        await spoken(engine, await utterance(spec, "Hello.", "piper/xx-nobody-low"))
    assert len(await spoken(engine, await utterance(spec, "Hello.")))


async def test_closing_early_frees_the_process(engine: PiperEngine, spec: EngineSpec) -> None:
    async with aclosing(engine.speak(await utterance(spec, "One. " * 50))) as pieces:
        await anext(pieces)
    assert len(await spoken(engine, await utterance(spec, "Next.")))


async def test_nothing_is_left_when_it_is_closed(spec: EngineSpec) -> None:
    before = set(psutil.Process().children())
    engine = await FAMILY.load(spec)
    started = set(psutil.Process().children()) - before
    assert engine.resident_bytes > 10_000_000
    await engine.close()
    assert not any(process.is_running() for process in started)


async def test_a_file_that_is_no_voice_is_told(tmp_path: Path) -> None:
    make_voice(tmp_path).write_bytes(b"not a graph")
    with pytest.raises(EngineFailure, match="could not begin"):
        await FAMILY.load(EngineSpec("piper", str(tmp_path)))


async def test_without_the_library_the_error_names_the_extra(spec: EngineSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "piper", None)
    with pytest.raises(ModelUnavailable, match=r"pip install 'atelier-studio\[piper\]'"):
        await FAMILY.load(spec)
    assert len((await FAMILY.roster(spec)).voices) == 5


def test_a_folder_without_voices_is_told(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"no \*.onnx in .*download_voices"):
        FAMILY.capabilities(EngineSpec("piper", str(tmp_path)))


def test_every_bad_file_is_told(tmp_path: Path) -> None:
    make_voice(tmp_path, "en_US-bare-low").with_name("en_US-bare-low.onnx.json").unlink()
    make_voice(tmp_path, "en_US-odd-low").with_name("en_US-odd-low.onnx.json").write_text('{"espeak": {}}')
    with pytest.raises(CatalogError) as caught:
        FAMILY.capabilities(EngineSpec("piper", str(tmp_path)))
    assert len(str(caught.value).splitlines()) == 2
    assert "KeyError" in str(caught.value)
