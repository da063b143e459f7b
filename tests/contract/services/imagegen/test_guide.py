"""The family of `docs/adding/image-family.md` makes the pictures of the library, in shared passes."""

# mypy: disable-error-code="no-untyped-call, attr-defined"
# (the libraries are not typed)

import re
from pathlib import Path
from types import ModuleType

import pytest
import torch
from diffusers import AuraFlowPipeline, AuraFlowTransformer2DModel, FlowMatchEulerDiscreteScheduler
from transformers import UMT5Config, UMT5EncoderModel

from services.imagegen.engines.parts import Parts
from services.imagegen.ports import Engine
from tests.contract.services.imagegen import oracle, runs, tiny
from tests.contract.services.imagegen.conftest import Load
from tests.unit.services.imagegen import rows

PAGE = Path(__file__).parents[4] / "docs" / "adding" / "image-family.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny AuraFlow."""
    torch.manual_seed(0)
    vae = tiny.vae()
    vae.register_to_config(shift_factor=None)
    pipeline = AuraFlowPipeline(
        tokenizer=tiny.t5_tokenizer(),
        text_encoder=UMT5EncoderModel(
            UMT5Config(vocab_size=64, d_model=32, d_ff=37, d_kv=8, num_heads=4, num_layers=1, decoder_start_token_id=0)
        ).eval(),
        vae=vae,
        transformer=AuraFlowTransformer2DModel(
            sample_size=16,
            in_channels=4,
            num_mmdit_layers=1,
            num_single_dit_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_projection_dim=32,
            joint_attention_dim=32,
            pos_embed_max_size=256,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )
    return tiny.saved(pipeline, tmp_path_factory.mktemp("models") / "tiny_auraflow")


@pytest.fixture(scope="module")
def engine(folder: Path, load: Load) -> Engine:
    """Return the engine that a reader would have written."""
    (code,) = re.findall(r"(?s)```python\n(# services/imagegen/engines/auraflow\.py\n.*?)```", PAGE.read_text())
    module = ModuleType("auraflow")
    exec(compile(code, PAGE, "exec"), vars(module))
    row = rows.row(rows.FLUX, id="tiny_auraflow", family="auraflow", source=str(folder), cfg="true")
    engine: Engine = module.build(Parts(row, load(row), lambda name: folder / name, max_batch=8))
    return engine


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_the_picture_is_the_library_s(engine: Engine, folder: Path, guidance: float) -> None:
    pipeline = AuraFlowPipeline.from_pretrained(folder)
    expected = oracle.picture(pipeline, width=32, height=32, num_inference_steps=3, guidance_scale=guidance)

    assert runs.apart(runs.alone(engine, runs.job(guidance=guidance)).pixels, expected) == 0


def test_pictures_share_passes(engine: Engine) -> None:
    jobs = [runs.job(), runs.job(prompt="a blue tree", seed=8), runs.job(seed=9, guidance=1.0)]
    expected = [runs.alone(engine, job).pixels for job in jobs]
    states = engine.prepare_all(jobs)
    while states[0].done < states[0].total:
        engine.step(states, runs.ignore)

    assert len({each.batch_key for each in states}) == 1
    assert max(map(runs.apart, [each.pixels for each in engine.finish_all(states)], expected)) <= oracle.TOLERANCE
