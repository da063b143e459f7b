"""Makes tiny voices in Piper's own format: an ONNX graph with the inputs and output of a VITS export, and its JSON."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP

PHONEME_SAMPLES = 1024


def make_voice(
    folder: Path, name: str = "en_US-tiny-low", level: float = 0.3, rate: int = 16000, **config: Any
) -> Path:
    """Write a voice that sings one note for each phoneme, at an amplitude of `level`, and return its file."""
    folder.mkdir(parents=True, exist_ok=True)
    speakers = config.get("num_speakers", 1)
    path = folder / f"{name}.onnx"
    onnx.save(_model(level, rate, several=speakers > 1), path)
    raw = {
        "dataset": name.split("-")[1],
        "audio": {"sample_rate": rate, "quality": "low"},
        "espeak": {"voice": "en-us"},
        "language": {"code": name.split("-", maxsplit=1)[0], "name_english": "English"},
        "inference": {"noise_scale": 0.0, "length_scale": 1, "noise_w": 0.0},
        "phoneme_type": "espeak",
        "phoneme_id_map": DEFAULT_PHONEME_ID_MAP,
        "num_symbols": 256,
        "num_speakers": 1,
        "speaker_id_map": {},
    }
    path.with_name(f"{path.name}.json").write_text(json.dumps(raw | config))
    return path


def _model(level: float, rate: int, *, several: bool) -> onnx.ModelProto:
    """The note of phoneme id p is 100 + p Hz, 100 more for the second speaker; it lasts 1024 samples * length_scale."""
    nodes = [
        helper.make_node("Cast", ["input"], ["ids"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["ids", "base"], ["hertz"]),
        *([helper.make_node("Cast", ["sid"], ["speaker"], to=TensorProto.FLOAT)] if several else []),
        *([helper.make_node("Mul", ["speaker", "base"], ["higher"])] if several else []),
        helper.make_node("Add", ["hertz", "higher" if several else "none"], ["notes"]),
        helper.make_node("Unsqueeze", ["notes", "last_axis"], ["columns"]),
        helper.make_node("Gather", ["scales", "second"], ["length_scale"], axis=0),
        helper.make_node("Mul", ["length_scale", "samples"], ["length"]),
        helper.make_node("Range", ["zero", "length", "one"], ["ramp"]),
        helper.make_node("Mul", ["ramp", "step"], ["turns"]),
        helper.make_node("Mul", ["columns", "turns"], ["phase"]),
        helper.make_node("Sin", ["phase"], ["sines"]),
        helper.make_node("Mul", ["sines", "level"], ["loud"]),
        helper.make_node("Reshape", ["loud", "shape"], ["output"]),
    ]
    constants = {
        "base": np.float32(100),
        **({} if several else {"none": np.float32(0)}),
        "last_axis": np.array([-1], np.int64),
        "second": np.int64(1),
        "samples": np.float32(PHONEME_SAMPLES),
        "zero": np.float32(0),
        "one": np.float32(1),
        "step": np.float32(2 * np.pi / rate),
        "level": np.float32(level),
        "shape": np.array([1, 1, 1, -1], np.int64),
    }
    inputs = [
        helper.make_tensor_value_info("input", TensorProto.INT64, [1, "phonemes"]),
        helper.make_tensor_value_info("input_lengths", TensorProto.INT64, [1]),
        helper.make_tensor_value_info("scales", TensorProto.FLOAT, [3]),
        *([helper.make_tensor_value_info("sid", TensorProto.INT64, [1])] if several else []),
    ]
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 1, 1, "samples"])
    initializers = [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, [output], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
