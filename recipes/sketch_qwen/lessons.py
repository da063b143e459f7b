"""The training data: lessons of one prompt prefix and many texts with their answers, endless and fixed by a seed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from recipes.scenes.captions import caption
from recipes.scenes.scene import sample
from recipes.sketch_qwen.candidates import Candidates, Choice
from recipes.sketch_qwen.compose import Composer, Wording
from recipes.sketch_qwen.vocabulary import CATEGORIES, FIELDS, Language, load_languages
from services.rewrite_llm.prompts import LABELS, NO, YES, Prompt, rewrite_prompt, safety_prompt, selection_prompt

TOPICS = (*FIELDS, *CATEGORIES)
"""What a text can be about."""

_WEIGHTS = {"en": 5, "de": 2, "fr": 2, "es": 2, "it": 2, "pt": 1, "nl": 1, "pl": 1, "ja": 1, "zh": 1}


@dataclass(frozen=True, slots=True)
class Lesson:
    """Prompts with the same system message, and the right answer to each."""

    prompts: tuple[Prompt, ...]
    answers: tuple[str, ...]


class Lessons:
    """Draws lessons; the same seed gives the same ones."""

    def __init__(self, seed: int, languages: tuple[Language, ...] | None = None) -> None:
        self._rng = random.Random(seed)
        self._candidates = Candidates(self._rng)
        composers = [Composer(language, self._rng) for language in languages or load_languages()]
        self._composers = composers
        self._weights = [_WEIGHTS.get(each.language.code, 1) for each in composers]
        self._english = next(each for each in composers if each.language.code == "en")

    def draw(self, size: int) -> Lesson:
        """One lesson of `size` texts: selection (72 %), safety (18 %) or rewriting (10 %)."""
        share = self._rng.random()
        if share < 0.72:
            return self.selection(size)
        return self.safety(size) if share < 0.9 else self.rewriting(size)

    def selection(self, size: int) -> Lesson:
        """Which candidate suits: one candidate set, many texts."""
        choice = self._candidates.draw()
        drawn = [self._chosen(choice) for _ in range(size)]
        return Lesson(tuple(prompt for prompt, _ in drawn), tuple(answer for _, answer in drawn))

    def safety(self, size: int) -> Lesson:
        """Unsafe or not: 45 % unsafe, the rest harmless, half of it looking unsafe at a glance."""
        drawn = [self._screened() for _ in range(size)]
        return Lesson(tuple(safety_prompt(text) for text, _ in drawn), tuple(answer for _, answer in drawn))

    def rewriting(self, size: int) -> Lesson:
        """Safe wordings of unsafe and of ambiguous texts."""
        drawn = [self._rewritten() for _ in range(size)]
        prompts = tuple(rewrite_prompt(each.text, [each.category] if each.category else []) for each in drawn)
        return Lesson(prompts, tuple(each.safe for each in drawn))

    def topics(self, size: int) -> list[tuple[str, str]]:
        """Texts, and wordings of candidates' strengths, each with its one of `TOPICS`."""
        return [self._topic() for _ in range(size)]

    def texts(self) -> Iterator[str]:
        """All that the model reads or writes, for training the tokenizer."""
        while True:
            lesson = self.draw(12)
            yield lesson.prompts[0].system
            yield from (f"{prompt.text}\n{prompt.question}" for prompt in lesson.prompts)
            yield from lesson.answers

    def _topic(self) -> tuple[str, str]:
        share = self._rng.random()
        if share < 0.15:
            field = self._rng.choice(FIELDS)
            return self._candidates.strengths([field]), field
        composer = self._composer()
        if share < 0.45:
            wording = composer.unsafe()
            return composer.noisy(wording.text), wording.category
        field, text = self._content(composer)
        return composer.noisy(text), field

    def _chosen(self, choice: Choice) -> tuple[Prompt, str]:
        composer = self._composer()
        field, text = self._content(composer)
        if self._rng.random() < 0.15:
            labels = LABELS[: len(choice.candidates)]
            attacker = composer if self._rng.random() < 0.6 else self._english
            text = attacker.attacked(text, attacker.injection([each.id for each in choice.candidates], labels))
        prompt = selection_prompt(choice.candidates, composer.noisy(text))
        return prompt, prompt.continuations[prompt.answers.index(choice.serving[field])]

    def _content(self, composer: Composer) -> tuple[str, str]:
        """A field and a harmless text of it."""
        if composer is self._english and self._rng.random() < 0.12:
            return self._caption()
        if self._rng.random() < 0.08:
            field, wording = composer.innocent()
            return field, wording.text
        field = self._rng.choice(FIELDS)
        return field, composer.scene(field)

    def _caption(self) -> tuple[str, str]:
        """What the bundled image model was trained on."""
        field = self._rng.choice(FIELDS[:-1])
        return field, caption(sample(self._rng.randrange(2**31), field), self._rng)

    def _screened(self) -> tuple[str, str]:
        composer = self._composer()
        if self._rng.random() < 0.45:
            wording = composer.unsafe()
            text = wording.text
            if self._rng.random() < 0.15:
                text = composer.attacked(text, composer.reassurance())
            return composer.noisy(text), YES
        return composer.noisy(self._harmless(composer)), NO

    def _harmless(self, composer: Composer) -> str:
        share = self._rng.random()
        if share < 0.3:
            wording = composer.innocent()[1]
            return wording.text if self._rng.random() < 0.7 else wording.safe
        if share < 0.42:
            return composer.unsafe().safe or composer.scene("portrait")
        text = self._content(composer)[1]
        if share < 0.48:
            return composer.attacked(text, composer.reassurance())
        if share < 0.54:
            return composer.attacked(text, composer.injection(["sketch", "flux_dev"], LABELS[:5]))
        return text

    def _rewritten(self) -> Wording:
        composer = self._composer()
        while True:
            wording = composer.innocent()[1] if self._rng.random() < 0.25 else composer.unsafe()
            if wording.safe:
                return wording

    def _composer(self) -> Composer:
        return self._rng.choices(self._composers, self._weights)[0]
