"""A byte-level BPE tokenizer in Qwen2.5's format, with its special tokens and chat template, trained on the lessons."""

from itertools import islice

from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

from recipes.sketch_qwen.lessons import Lessons
from services.rewrite_llm.prompts import LABELS, NO, YES

VOCABULARY = 8192
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"

_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def train_tokenizer(seed: int, *, lines: int = 120_000, vocabulary: int = VOCABULARY) -> PreTrainedTokenizerFast:
    """Learn the merges from `lines` lines of the lessons of `seed`."""
    tokenizer = Tokenizer(BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    answers = [f"{word}\n" for word in (*LABELS, YES, NO, "system", "user", "assistant")] * 100
    tokenizer.train_from_iterator([*answers, *islice(Lessons(seed).texts(), lines)], trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, model_max_length=2048)
    wrapped.chat_template = _TEMPLATE
    return wrapped
