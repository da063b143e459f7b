"""Piper: small neural voices (VITS, ONNX) that a user downloads himself, several times faster than real time on a CPU.

`piper-tts` is GPL-3.0-or-later and has espeak-ng inside: it runs in processes of its own, which import nothing of ours
but `frames`, `line` and `tasks`. It is an extra (`piper`), and no voice comes with it.
"""
