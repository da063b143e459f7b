"""Engines that speak: each package here is a family by its name, see `services.voice.families`."""
