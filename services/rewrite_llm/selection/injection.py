"""Leave out what speaks to the machine instead of describing a picture."""

import re
import tomllib
from pathlib import Path

from services.rewrite_llm.text.normalise import views
from services.rewrite_llm.text.phrases import Lexicon

_CLAUSE = re.compile(r"[^.!?;:\n,()\[\]{}<>|#\"“”—–]+")


class InjectionFilter:
    """Drops the clauses of a prompt that give orders about the choice."""

    def __init__(self, path: Path) -> None:
        """Read the phrases; raises `ValueError` if one is empty."""
        phrases = tomllib.loads(path.read_text(encoding="utf-8"))["phrases"]
        self._orders = Lexicon((phrase, None) for phrase in phrases)

    def clean(self, text: str) -> str:
        """Return the clauses of `text` that describe; `text` itself if it holds no order."""
        clauses = [clause.group().strip() for clause in _CLAUSE.finditer(text)]
        kept = [clause for clause in clauses if not self._is_order(clause)]
        return text if len(kept) == len(clauses) else ", ".join(filter(None, kept))

    def _is_order(self, clause: str) -> bool:
        return any(True for view in views(clause) for _ in self._orders.find(view))
