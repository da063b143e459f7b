import pytest

from servekit.settings import WrongSettings
from services.voice.bootstrap import build
from services.voice.settings import VoiceSettings


def test_a_warm_engine_that_is_not_there_names_the_setting() -> None:
    with pytest.raises(WrongSettings, match=r"^ATELIER_VOICE_WARM: no model named 'zzz'"):
        build(VoiceSettings(warm=("zzz",)))
