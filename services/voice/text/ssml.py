"""Is a text SSML that may be handed to an engine?"""

from xml.parsers import expat

from services.voice.text.speakable import NOTHING_TO_SPEAK, is_speakable


def fault(text: str) -> str:
    """Return what is wrong with an SSML document, empty if nothing is. Nothing is fetched or expanded."""
    parser = expat.ParserCreate()
    roots: list[str] = []
    said: list[str] = []
    depth = 0

    def begin(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        if depth == 0:
            roots.append(name)
        depth += 1
        said.append(attributes.get("alias", ""))  # of <sub>, said in place of its text

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    def doctype(*_: object) -> None:
        raise ValueError("must not have a document type")

    parser.StartElementHandler = begin
    parser.EndElementHandler = end
    parser.StartDoctypeDeclHandler = doctype
    parser.CharacterDataHandler = said.append
    try:
        parser.Parse(text, True)
    except (expat.ExpatError, ValueError) as error:
        return f"is not well-formed SSML: {error}"
    if roots != ["speak"]:
        return f"must have the root element <speak>, not <{roots[0]}>"
    return "" if is_speakable("".join(said)) else NOTHING_TO_SPEAK
