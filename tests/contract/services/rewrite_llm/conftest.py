from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from services.rewrite_llm.engines.causal_lm import CausalLmEngine
from services.rewrite_llm.engines.int8 import quantise
from services.rewrite_llm.engines.rules import RulesEngine
from services.rewrite_llm.ports import Engine
from services.rewrite_llm.safety import rows
from services.rewrite_llm.safety.rules import Policy, RuleSet
from services.rewrite_llm.selection import keywords
from services.rewrite_llm.settings import RewriteSettings
from tests.contract.services.rewrite_llm import tiny


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("tiny-qwen"))


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tokenizer(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="session")
def model(folder: Path, one_thread: None) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype="float32").train(False)


@pytest.fixture
def causal_lm(model: Any, tokenizer: Any) -> CausalLmEngine:
    return CausalLmEngine(model, tokenizer)


@pytest.fixture(scope="session")
def rules() -> RulesEngine:
    folders = RewriteSettings()
    topics = keywords.Keywords(keywords.load(folders.selection_dir / "topics.toml"))
    rule_set = RuleSet(rows.load(folders.safety_dir), Policy({}))
    return RulesEngine(rule_set, topics, rows.shared(folders.safety_dir).additions)


@pytest.fixture(scope="session")
def qwen3(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> CausalLmEngine:
    """A tiny Qwen3, whose attention heads are wider than its states would make them, as in the real ones."""
    folder = tiny.save(tmp_path_factory.mktemp("tiny-qwen3"), family="qwen3", head_dim=16, tie_word_embeddings=True)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32").train(False)
    return CausalLmEngine(model, AutoTokenizer.from_pretrained(folder))


@pytest.fixture(scope="session")
def int8(folder: Path, tokenizer: Any, one_thread: None) -> CausalLmEngine:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32").train(False)
    quantise(model.base_model)
    return CausalLmEngine(model, tokenizer)


@pytest.fixture(params=["causal_lm", "qwen3", "int8", "rules"])
def engine(request: pytest.FixtureRequest) -> Engine:
    made: Engine = request.getfixturevalue(request.param)
    return made
