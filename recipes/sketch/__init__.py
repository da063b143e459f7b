"""The bundled image model `sketch`: a small FLUX trained on the scenes of recipes.scenes."""
