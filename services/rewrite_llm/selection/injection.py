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
        """Return the clauses of `text` that describe; `text` itself if it holds no order.

        Beside an order, single words are part of it (a letter to answer with, a role), except at the start.
        """
        clauses = [clause.group().strip() for clause in _CLAUSE.finditer(text)]
        described = [clause for clause in clauses if not self._is_order(clause)]
        if len(described) == len(clauses):
            return text
        return ", ".join(clause for clause in described if " " in clause or clause is clauses[0])

    def _is_order(self, clause: str) -> bool:
        return any(True for view in views(clause) for _ in self._orders.find(view))
