"""The few functions of libespeak-ng that we use, through ctypes. Runs in the espeak process only.

The library is GPL-3.0 and keeps global state: hence a process of its own, one utterance at a time. Structures and
constants are those of `speak_lib.h`, espeak-ng 1.52.
"""

import ctypes
from collections.abc import Callable, Iterator

from services.voice.engines.espeak.tasks import NativeVoice, Task

_SYNCHRONOUS = 2
_DONT_EXIT = 0x8000
_CHARS_UTF8 = 1
_SSML = 0x10
_END_PAUSE = 0x1000
_POS_CHARACTER = 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_NORMAL_VOLUME, _NORMAL_RANGE = 100, 50
_NO_EMPHASIS = "\x010F "
"""A command amid text; no function sets the emphasis."""
_EVENT_END, _EVENT_WORD = 0, 1
_OK = 0

OnAudio = Callable[[bytes], None]
OnWord = Callable[[int, int, int], None]
"""Called with the offset and length in code points and the sample at which the word begins."""


class EspeakError(RuntimeError):
    """The library refused."""


class _EventId(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    ]


class _Voice(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("languages", ctypes.POINTER(ctypes.c_char)),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    ]


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class Espeak:
    """The library, initialised; `buffer_ms` is how much audio it hands over at a time."""

    def __init__(self, library_path: str, data_path: str, *, buffer_ms: int) -> None:
        self._library = ctypes.CDLL(library_path)
        self._library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
        rate = self._library.espeak_Initialize(_SYNCHRONOUS, buffer_ms, data_path.encode(), _DONT_EXIT)
        if rate <= 0:
            raise EspeakError(f"espeak_Initialize with the data at {data_path!r} returned {rate}")
        self.sample_rate = int(rate)
        self._voice = ""
        self._failure: BaseException | None = None

    def voices(self) -> Iterator[NativeVoice]:
        """Yield every voice of the data folder."""
        listed = self._library.espeak_ListVoices(None)
        index = 0
        while listed[index]:
            voice = listed[index].contents
            yield NativeVoice(
                voice.identifier.decode(), voice.name.decode().strip(), tuple(_languages(voice.languages)), voice.gender
            )
            index += 1

    def speak(self, task: Task, on_audio: OnAudio, on_word: OnWord, stopped: Callable[[], bool]) -> None:
        """Speak; `stopped` is asked at every buffer and ends it early. Raises `EspeakError`."""
        self._select(task.voice)
        self._adjust(task)
        flags = _CHARS_UTF8 | (_SSML if task.ssml else 0) | (_END_PAUSE if task.pause_after else 0)
        self._failure = None
        result = self._synthesize(task.text, flags, self._receiver(on_audio, on_word, stopped))
        if task.ssml:
            self._tidy()
        if self._failure is not None:
            raise self._failure
        self._check("espeak_Synth", result)

    def _synthesize(self, text: str, flags: int, receive: Callable[..., int]) -> int:
        callback = _Callback(receive)
        self._library.espeak_SetSynthCallback(callback)
        data = text.encode() + b"\0"
        return int(self._library.espeak_Synth(data, len(data), 0, _POS_CHARACTER, 0, flags, None, None))

    def _tidy(self) -> None:
        """Undo what a document leaves behind that was stopped within `<emphasis>` or `<voice>`."""
        self._synthesize(_NO_EMPHASIS, _CHARS_UTF8, lambda *_: 0)
        self._voice = ""

    def _select(self, voice: str) -> None:
        if voice != self._voice:
            self._check(f"espeak_SetVoiceByName({voice!r})", self._library.espeak_SetVoiceByName(voice.encode()))
            self._voice = voice

    def _adjust(self, task: Task) -> None:
        """Set all that `<prosody>` changes, for a document that is stopped within it leaves it so."""
        values = {
            _RATE: task.words_per_minute,
            _VOLUME: _NORMAL_VOLUME,
            _PITCH: task.pitch,
            _RANGE: _NORMAL_RANGE,
        }
        for parameter, value in values.items():
            self._check("espeak_SetParameter", self._library.espeak_SetParameter(parameter, value, 0))

    def _check(self, what: str, result: int) -> None:
        if result != _OK:
            self._voice = ""
            raise EspeakError(f"{what} returned {result}")

    def _receiver(self, on_audio: OnAudio, on_word: OnWord, stopped: Callable[[], bool]) -> Callable[..., int]:
        def receive(samples: "ctypes._Pointer[ctypes.c_short]", count: int, events: "ctypes._Pointer[_Event]") -> int:
            try:
                for event in _until_end(events):
                    if event.type == _EVENT_WORD:
                        on_word(event.text_position - 1, event.length, event.sample)
                if samples and count:
                    on_audio(ctypes.string_at(samples, 2 * count))
                return int(stopped())
            except BaseException as error:  # an exception cannot pass through C
                self._failure = error
                return 1

        return receive


def _until_end(events: "ctypes._Pointer[_Event]") -> Iterator[_Event]:
    index = 0
    while events[index].type != _EVENT_END:
        yield events[index]
        index += 1


def _languages(raw: "ctypes._Pointer[ctypes.c_char]") -> Iterator[tuple[int, str]]:
    """Read a list of (priority byte, zero-terminated tag), ended by a zero priority."""
    at = 0
    while raw[at] != b"\0":
        start = at + 1
        at = start
        while raw[at] != b"\0":
            at += 1
        yield raw[start - 1][0], ctypes.string_at(ctypes.byref(raw.contents, start)).decode()
        at += 1
