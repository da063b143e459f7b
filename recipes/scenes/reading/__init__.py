"""Reading attributes back from the pixels of a picture, without knowing what it was meant to show.

Each `read_*` returns what it sees under the names of the scene's attributes; the generator's own pictures show how far
the reading can be trusted.
"""

from recipes.scenes.canvas import Picture
from recipes.scenes.landscape import Landscape
from recipes.scenes.logo import Logo
from recipes.scenes.portrait import Portrait
from recipes.scenes.poster import Poster
from recipes.scenes.reading.landscape import landscape_verdicts
from recipes.scenes.reading.logo import logo_verdicts
from recipes.scenes.reading.portrait import portrait_verdicts
from recipes.scenes.reading.poster import poster_verdicts
from recipes.scenes.scene import Scene


def verdicts(scene: Scene, picture: Picture) -> dict[str, bool]:
    """For each attribute of the scene that pixels can show: whether the picture shows it."""
    if isinstance(scene, Landscape):
        return landscape_verdicts(scene, picture)
    if isinstance(scene, Portrait):
        return portrait_verdicts(scene, picture)
    if isinstance(scene, Poster):
        return poster_verdicts(scene, picture)
    assert isinstance(scene, Logo)
    return logo_verdicts(scene, picture)
