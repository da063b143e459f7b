"""Run voice: `python -m services.voice`."""

from servekit.app import launch
from services.voice.bootstrap import build
from services.voice.settings import VoiceSettings

if __name__ == "__main__":
    launch(VoiceSettings, build)
