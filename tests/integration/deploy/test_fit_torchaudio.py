"""torchaudio and torch, as they are installed here."""

from pathlib import Path

import torch

from deploy.local.fit_torchaudio import extensions, fit, loads


def test_torchaudio_works_as_it_was_set_up() -> None:
    from torchaudio.functional import resample

    assert resample(torch.zeros(1, 2400), 24000, 16000).shape == (1, 1600)


def test_where_it_fits_nothing_changes() -> None:
    before = extensions()
    assert list(fit(before)) == []
    assert extensions() == before


def test_what_does_not_load_is_removed(tmp_path: Path) -> None:
    library = tmp_path / "_torchaudio.so"
    library.write_bytes(b"built for something else")
    assert not loads([library])
    assert list(fit([library])) == [library]
    assert not library.exists()
