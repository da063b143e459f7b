"""The markup that an engine gets: what of SSML is known to be harmless, written so that nobody can misread it.

Engines read it less strictly than XML is, and may do what callers have no business with: espeak opens the files that
`<audio>` names, and takes comments, `&#60;audio` and `<šudio>` for such a tag too.
"""

import re
from collections.abc import Mapping

_TAG = r"[A-Za-z0-9-]{1,35}"
_NUMBER = r"[0-9]{1,3}"
_PROSODY = r"default|silent|medium|(x-)?(soft|loud|slow|fast|low|high)|[+-]?[0-9.]{1,6}(%|st|Hz|dB)?"
_SSML: Mapping[str, Mapping[str, str]] = {
    "speak": {"xml:lang": _TAG},
    "p": {"xml:lang": _TAG},
    "s": {"xml:lang": _TAG},
    "voice": {
        "xml:lang": _TAG,
        "name": r"[A-Za-z0-9 _()+-]{1,39}",  # no path: espeak looks for a file of that name
        "gender": "male|female|neutral",
        "age": _NUMBER,
        "variant": _NUMBER,
    },
    "prosody": dict.fromkeys(("rate", "volume", "pitch", "range"), _PROSODY),
    "emphasis": {"level": "none|reduced|moderate|(x-)?strong"},
    "break": {"strength": "none|medium|(x-)?(weak|strong)", "time": r"[0-9]{1,6}ms"},
    "say-as": {"interpret-as": "characters|telephone|tts:(char|key|digits)", "format": "glyphs", "detail": _NUMBER},
}
_HTML: Mapping[str, Mapping[str, str]] = {
    name: {} for name in ("b", "i", "em", "strong", "h1", "h2", "h3", "h4", "li", "br", "hr")
}
_ELEMENTS = {**_SSML, **_HTML}
"""For each element its attributes, and the values they may have."""
_EMPTY = ("break", "br", "hr")
ELEMENTS = (*_SSML, "sub")
"""What of SSML is acted on; `<sub>` reaches no engine, for its alias is written as text."""


def opening(element: str, attributes: Mapping[str, str]) -> str:
    """Return the tag that begins an element, with the attributes that an engine may have.

    Of other elements a space is left, since a word ends there.
    """
    if element not in _ELEMENTS:
        return " "
    known = _ELEMENTS[element]
    kept = (f' {name}="{value}"' for name, value in attributes.items() if re.fullmatch(known.get(name, "(?!)"), value))
    return f"<{element}{''.join(kept)}{'/' if element in _EMPTY else ''}>"


def closing(element: str) -> str:
    """Return what ends an element that `opening` began."""
    if element in _EMPTY:
        return ""
    return f"</{element}>" if element in _ELEMENTS else " "


def escaped(text: str) -> str:
    """Return text that is not taken for markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;")
