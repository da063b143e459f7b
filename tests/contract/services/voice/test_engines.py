"""What every engine promises, kept by the real espeak in its own processes."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from servekit.errors import EngineFailure
from services.voice import catalog as catalogs
from services.voice import families
from services.voice.domain import Piece, Roster, Samples, Utterance, Word
from services.voice.engines.espeak.engine import EspeakEngine, Family
from services.voice.text import ssml

FAMILY = Family(workers=2, buffer_ms=20)
SPEC = catalogs.load(families=families.names()).default().spec
RATE = FAMILY.capabilities(SPEC).sample_rate
LANGUAGES = {
    "west": ("da", "de", "el", "en", "es", "fi", "fr", "it", "nb", "nl", "pt", "pt-br", "sv"),
    "east": ("cs", "hu", "pl", "ro", "ru", "tr", "uk"),
    "far": ("ar", "hi", "ja", "ko", "vi", "zh"),
}
LONG = "This sentence goes on and on, and never comes to its end. " * 400


@pytest.fixture
async def engine() -> AsyncIterator[EspeakEngine]:
    loaded = await FAMILY.load(SPEC)
    yield loaded
    await loaded.close()


@pytest.fixture
async def roster() -> Roster:
    return await FAMILY.roster(SPEC)


def utterance(roster: Roster, text: str, voice: str = "espeak/en-us", **how: float | bool) -> Utterance:
    chosen = next(each for each in roster.voices if each.id == voice)
    return Utterance(text, chosen, chosen.languages[0], seed=0, **how)  # type: ignore[arg-type]


async def spoken(engine: EspeakEngine, what: Utterance) -> list[Piece]:
    async with aclosing(engine.speak(what)) as pieces:
        return [piece async for piece in pieces]


def audio(pieces: list[Piece]) -> Samples:
    return np.concatenate([each for each in pieces if not isinstance(each, Word)])


def pitch_hz(samples: Samples) -> float:
    """Return the strongest periodicity of 60 to 400 Hz in the middle of the audio."""
    middle = samples[len(samples) // 3 :][: RATE // 4]
    spectrum = np.fft.irfft(np.abs(np.fft.rfft(middle, 2 * len(middle))) ** 2)
    shortest, longest = RATE // 400, RATE // 60
    return RATE / (shortest + int(np.argmax(spectrum[shortest:longest])))


async def test_the_catalogs_families_are_there() -> None:
    assert "espeak" in families.names()


async def test_audio_is_audible_finite_and_not_clipped(engine: EspeakEngine, roster: Roster) -> None:
    samples = audio(await spoken(engine, utterance(roster, "Hello, how are you?")))
    assert samples.dtype == np.float32
    assert np.isfinite(samples).all()
    assert 0.1 < np.abs(samples).max() <= 1.0
    assert 0.8 < len(samples) / RATE < 4


async def test_it_comes_in_many_small_pieces(engine: EspeakEngine, roster: Roster) -> None:
    pieces = await spoken(engine, utterance(roster, "Hello, how are you today, my dear friend?"))
    sizes = [len(each) / RATE for each in pieces if not isinstance(each, Word)]
    assert sizes[0] < 0.1
    assert max(sizes) < 0.5


async def test_every_word_has_its_place_and_time(engine: EspeakEngine, roster: Roster) -> None:
    text = "Grüße an 42 naïve Leute."
    pieces = await spoken(engine, utterance(roster, text, "espeak/de"))
    words = [each for each in pieces if isinstance(each, Word)]
    assert [text[each.offset : each.offset + each.length] for each in words] == ["Grüße", "an", "42", "naïve", "Leute"]
    times = [each.start_s for each in words]
    assert times == sorted(times)
    assert times[-1] < len(audio(pieces)) / RATE


@pytest.mark.parametrize(
    ("voice", "text", "said"),
    [
        ("espeak/en-us", "I said yes—no matter what—and left.", "I said yes no matter what and left"),
        ("espeak/en-us", "Don’t—take 42—please.", "Don’t take 42 please"),
        ("espeak/hi", "किताब—मेज", "किताब मेज"),
    ],
)
async def test_a_word_before_a_dash_has_its_place_too(
    engine: EspeakEngine, roster: Roster, voice: str, text: str, said: str
) -> None:
    words = [each for each in await spoken(engine, utterance(roster, text, voice)) if isinstance(each, Word)]
    assert [text[each.offset : each.offset + each.length] for each in words] == said.split()


async def test_rate_changes_the_length(engine: EspeakEngine, roster: Roster) -> None:
    text = "One two three four five six."
    slow, fast = [len(audio(await spoken(engine, utterance(roster, text, rate=rate)))) for rate in (0.5, 2)]
    assert 2 < slow / fast < 6


async def test_pitch_changes_the_pitch(engine: EspeakEngine, roster: Roster) -> None:
    low, high = [
        pitch_hz(audio(await spoken(engine, utterance(roster, "Aaaaaaah, no, maaaaany moooore.", pitch=pitch))))
        for pitch in (0.7, 1.4)
    ]
    assert 1.4 < high / low < 2.8


async def test_the_female_variant_is_higher(engine: EspeakEngine, roster: Roster) -> None:
    male, female = [
        pitch_hz(audio(await spoken(engine, utterance(roster, "Aaaaaaah, no, maaaaany moooore.", voice))))
        for voice in ("espeak/en-us", "espeak/en-us+female")
    ]
    assert female > 1.2 * male


async def test_ssml_is_understood(engine: EspeakEngine, roster: Roster) -> None:
    plain = utterance(roster, "<speak>one two</speak>", ssml=True)
    broken = utterance(roster, '<speak>one <break time="2s"/> two</speak>', ssml=True)
    longer_s = (len(audio(await spoken(engine, broken))) - len(audio(await spoken(engine, plain)))) / RATE
    assert longer_s == pytest.approx(2, abs=0.5)


@pytest.mark.parametrize(
    "hidden",
    [
        "<!-- > <audio src='{file}'/> -->",
        "<?x > <audio src='{file}'/> ?>",
        "<![CDATA[ > <audio src='{file}'/> ]]>",
        "A. <b>&#60;audio src='{file}'/&#62;</b>",
        "<\u0161udio src='{file}'/>",
    ],
)
async def test_ssml_plays_no_file(engine: EspeakEngine, roster: Roster, tmp_path: Path, hidden: str) -> None:
    loud = tmp_path / "loud.wav"
    soundfile.write(loud, np.tile([0.999, -0.999], RATE), RATE, subtype="PCM_16")
    text = f"<speak>One {hidden.format(file=loud)} two</speak>"
    assert ssml.fault(text) == ""
    what = utterance(roster, ssml.document(text).text.text, ssml=True)
    assert np.std(audio(await spoken(engine, what))) < 0.2


@pytest.mark.parametrize(
    "tag",
    [
        "voice xml:lang='de'",
        "s xml:lang='de'",
        "prosody volume='silent'",
        "prosody volume='x-loud'",
        "prosody range='0'",
        "prosody rate='200%' pitch='+50%'",
        "emphasis level='strong'",
    ],
)
async def test_nothing_is_left_of_a_document_that_is_stopped_in_its_midst(roster: Roster, tag: str) -> None:
    engine = await Family(workers=1, buffer_ms=20).load(SPEC)
    plain = utterance(roster, "This is a plain sentence of words.")
    marked = utterance(roster, f"<speak><{tag}>{LONG}</{tag.partition(' ')[0]}></speak>", ssml=True)
    before = audio(await spoken(engine, plain))
    async with aclosing(engine.speak(marked)) as pieces:
        for _ in range(3):
            await anext(pieces)
    after = audio(await spoken(engine, plain))
    await engine.close()
    assert len(after) == pytest.approx(len(before), rel=0.02)
    assert np.std(after) == pytest.approx(np.std(before), rel=0.05)
    assert likeness(before, after) > 0.75


def likeness(one: Samples, other: Samples) -> float:
    """Return how much the spectra of two sounds agree, 0 to 1."""
    size = 2048
    count = min(len(one), len(other)) // size * size
    first, second = [np.abs(np.fft.rfft(each[:count].reshape(-1, size) * np.hanning(size))) for each in (one, other)]
    return float((first * second).sum() / np.sqrt((first**2).sum() * (second**2).sum() + 1e-9))


async def test_a_pause_follows_the_end_of_a_sentence_only(engine: EspeakEngine, roster: Roster) -> None:
    both = [utterance(roster, "one two three", ends_sentence=ends) for ends in (True, False)]
    ended, cut = [len(audio(await spoken(engine, each))) for each in both]
    assert ended > cut


async def test_pieces_begin_and_end_in_silence(engine: EspeakEngine, roster: Roster) -> None:
    samples = audio(await spoken(engine, utterance(roster, "Seams must not click.")))
    assert np.abs(samples[:5]).max() < 0.02
    assert np.abs(samples[-5:]).max() < 0.02


@pytest.mark.parametrize("region", LANGUAGES)
async def test_the_languages_people_ask_for_speak(engine: EspeakEngine, roster: Roster, region: str) -> None:
    for tag in LANGUAGES[region]:
        pieces = await spoken(engine, utterance(roster, "1 2 3", roster.defaults[tag]))
        assert np.abs(audio(pieces)).max() > 0.01, tag


async def test_several_speak_at_once_without_mixing(engine: EspeakEngine, roster: Roster) -> None:
    short, long = utterance(roster, "No."), utterance(roster, "This is a somewhat longer sentence.", "espeak/en-gb")
    lengths = [len(audio(each)) for each in await asyncio.gather(*(spoken(engine, each) for each in [short, long] * 5))]
    assert max(lengths[::2]) < min(lengths[1::2])
    assert max(lengths[1::2]) - min(lengths[1::2]) < 0.1 * RATE


async def test_those_who_come_later_are_not_overtaken(engine: EspeakEngine, roster: Roster) -> None:
    """Many long texts share the processes sentence by sentence, so that nobody waits for the end of another's."""
    order: list[int] = []

    async def tell(number: int) -> None:
        for _ in range(4):
            await spoken(engine, utterance(roster, "A sentence."))
            order.append(number)

    await asyncio.gather(*(tell(number) for number in range(6)))
    assert set(order[:8]) >= set(range(5))


async def test_closing_stops_at_once_and_frees_the_process(engine: EspeakEngine, roster: Roster) -> None:
    before = engine.pids
    for _ in range(5):
        async with aclosing(engine.speak(utterance(roster, LONG))) as pieces:
            await anext(pieces)
            await anext(pieces)
    assert len(audio(await spoken(engine, utterance(roster, "Next.")))) < 2 * RATE
    assert engine.pids == before


async def test_a_killed_process_is_a_failure_and_is_replaced(engine: EspeakEngine, roster: Roster) -> None:
    async def until_broken() -> None:
        async for _ in engine.speak(utterance(roster, LONG)):
            for pid in before:
                os.kill(pid, signal.SIGKILL)

    before = engine.pids
    processes = [psutil.Process(pid) for pid in before]
    with pytest.raises(EngineFailure):
        await until_broken()
    psutil.wait_procs(processes, timeout=10)  # the idle one may still be dying
    assert len(audio(await spoken(engine, utterance(roster, "Back again."))))
    assert len(audio(await spoken(engine, utterance(roster, "And the other one."))))
    assert not before & engine.pids


async def test_a_refusal_is_a_failure_and_the_next_one_is_spoken(engine: EspeakEngine, roster: Roster) -> None:
    good = utterance(roster, "Hello.")
    bad = replace(good, voice=replace(good.voice, native="no/such"))
    with pytest.raises(EngineFailure, match="no/such"):
        await spoken(engine, bad)
    assert len(audio(await spoken(engine, good)))


async def test_nothing_is_left_when_it_is_closed() -> None:
    engine = await FAMILY.load(SPEC)
    pids = engine.pids
    assert engine.resident_bytes > 1_000_000
    await engine.close()
    assert not any(psutil.pid_exists(pid) for pid in pids)
