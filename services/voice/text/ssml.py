"""Is a text SSML that may be handed to an engine?"""

from xml.parsers import expat


def fault(text: str) -> str:
    """Return what is wrong with an SSML document, empty if nothing is. Nothing is fetched or expanded."""
    parser = expat.ParserCreate()
    roots: list[str] = []
    depth = 0

    def begin(name: str, _: dict[str, str]) -> None:
        nonlocal depth
        if depth == 0:
            roots.append(name)
        depth += 1

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    def doctype(*_: object) -> None:
        raise ValueError("must not have a document type")

    parser.StartElementHandler = begin
    parser.EndElementHandler = end
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(text, True)
    except (expat.ExpatError, ValueError) as error:
        return f"is not well-formed SSML: {error}"
    return "" if roots == ["speak"] else f"must have the root element <speak>, not <{roots[0]}>"
