"""Run voice: `python -m services.voice`."""

from servekit.app import run
from services.voice.bootstrap import build
from services.voice.settings import VoiceSettings

if __name__ == "__main__":
    run(build(VoiceSettings()))
