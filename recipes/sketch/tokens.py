"""The two tokenizers of the model, made from captions of the scenes, in transformers' formats."""

import json
import math
import random
import string
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer, T5Tokenizer

from recipes.scenes.captions import caption
from recipes.scenes.scene import sample

MAX_TOKENS = 40
"""Tokens of a prompt that the model sees: FluxPipeline's `max_sequence_length`."""

_CAPTIONS = 40_000
_RAREST = 8
_CLIP_VOCABULARY = 900
_CHARACTERS = string.ascii_letters + string.digits + ".,;:!?'\"-()&/"
_CHARACTER_SCORE = -16.0


def caption_corpus() -> Iterator[str]:
    """Captions of scenes, the same ones in every run."""
    for seed in range(_CAPTIONS):
        rng = random.Random(seed)
        yield caption(sample(seed), rng)


def make_t5_tokenizer() -> T5Tokenizer:
    """A unigram tokenizer with each caption word as one piece (its score is the logarithm of its share) and
    single characters, scored lower than any word, for everything else."""
    words = Counter(word for text in caption_corpus() for word in text.replace(",", " ,").replace(".", " .").split())
    total = sum(words.values())
    pieces = {"<pad>": 0.0, "</s>": 0.0, "<unk>": 0.0, "▁": -4.0}
    pieces |= dict.fromkeys(_CHARACTERS, _CHARACTER_SCORE)
    pieces |= {
        f"▁{word}": math.log(count / total)
        for word, count in words.most_common()
        if count >= _RAREST and word not in ",."
    }
    return T5Tokenizer(vocab=list(pieces.items()), extra_ids=0, model_max_length=MAX_TOKENS)


def make_clip_tokenizer() -> CLIPTokenizer:
    """A byte-level BPE tokenizer, lower case as CLIP's, trained on the captions."""
    start, end = "<|startoftext|>", "<|endoftext|>"
    trained = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    trained.normalizer = normalizers.Lowercase()
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trained.train_from_iterator(
        caption_corpus(),
        trainers.BpeTrainer(
            vocab_size=_CLIP_VOCABULARY,
            initial_alphabet=sorted(alphabet),
            end_of_word_suffix="</w>",
            special_tokens=[start, end],
            show_progress=False,
        ),
    )
    merges: Any = [tuple(merge) for merge in json.loads(trained.to_str())["model"]["merges"]]
    return CLIPTokenizer(vocab=trained.get_vocab(), merges=merges, model_max_length=MAX_TOKENS)
