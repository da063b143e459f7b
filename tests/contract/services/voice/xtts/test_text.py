"""Texts of every language become tokens, whatever numbers are in them."""

from pathlib import Path

import pytest
from TTS.tts.layers.xtts.tokenizer import VoiceBpeTokenizer

from services.voice.engines.xtts import languages
from services.voice.engines.xtts.text import Reader

LIMIT = 100
TEXTS = ("12 3.5 1st 20% $5 & 100,000.50 €2", "1234567890" * 12, "٣ 二〇 ½ ² Ⅷ 😀", "1.2.3 4- 5,,6 .7 $ € £1 3º 3. 2e")


@pytest.mark.parametrize("tag", languages.available())
def test_every_language_reads_numbers(folder: Path, tag: str) -> None:
    reader = Reader(VoiceBpeTokenizer(vocab_file=folder / "vocab.json"), LIMIT)
    for text in TEXTS:
        parts = list(reader.read(text, tag))
        assert all(1 < len(part) <= LIMIT for part in parts)


def test_the_language_comes_first_and_spaces_are_kept(folder: Path) -> None:
    tokenizer = VoiceBpeTokenizer(vocab_file=folder / "vocab.json")
    (part,) = Reader(tokenizer, LIMIT).read("Ein Haus", "de")
    assert tokenizer.tokenizer.decode(part, skip_special_tokens=False).replace(" ", "") == "[de]ein[SPACE]haus"
