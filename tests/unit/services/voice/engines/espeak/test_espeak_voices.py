"""espeak's list becomes ours; frames survive the journey."""

from services.voice.engines import frames
from services.voice.engines.espeak.tasks import NativeVoice, Ready, Task
from services.voice.engines.espeak.voices import roster

GB = NativeVoice("gmw/en", "English (Great Britain)", ((2, "en-gb"), (2, "en")), 1)
US = NativeVoice("gmw/en-US", "English (America)", ((2, "en-us"), (3, "en")), 1)
YUE = NativeVoice("sit/yue", "Cantonese", ((5, "yue"), (8, "zh")), 1)
LATIN = NativeVoice("sit/yue-Latn", "Cantonese, Latin", ((5, "yue"), (8, "zh")), 1)


def test_each_voice_comes_as_it_is_and_female() -> None:
    found = roster("espeak", [US], {}).voices
    assert [(each.id, each.gender, each.native) for each in found] == [
        ("espeak/en-us", "male", "gmw/en-US"),
        ("espeak/en-us+female", "female", "gmw/en-US+f2"),
    ]


def test_ids_are_unique_where_languages_are_not() -> None:
    ids = [each.id for each in roster("espeak", [YUE, LATIN], {}).voices]
    assert ids == ["espeak/yue", "espeak/yue+female", "espeak/yue-latn", "espeak/yue-latn+female"]


def test_the_best_rank_speaks_a_language() -> None:
    assert roster("espeak", [US, GB], {}).defaults["en"] == "espeak/en-gb"


def test_the_catalog_overrules_it() -> None:
    assert roster("espeak", [US, GB], {"en": "espeak/en-us"}).defaults["en"] == "espeak/en-us"


def test_a_task_survives_the_journey() -> None:
    task = Task("Grüße\n", "gmw/de", 175, 50, ssml=False, pause_after=True)
    assert Task.from_bytes(task.to_bytes()) == task


def test_a_list_of_voices_survives_the_journey() -> None:
    ready = Ready(22050, (GB, YUE))
    assert Ready.from_bytes(ready.to_bytes()) == ready


def test_a_frame_has_kind_and_length() -> None:
    packed = frames.pack(frames.AUDIO, b"1234")
    assert frames.HEADER.unpack(packed[: frames.HEADER.size]) == (frames.AUDIO, 4)
