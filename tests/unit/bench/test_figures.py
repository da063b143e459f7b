import json
from pathlib import Path

import pytest

from bench import __main__ as command
from bench._figures import Figure, percentile, table, write

FIGURE = Figure("ours beside theirs", 1.2345, "x", 200, aim="<= 1.5")


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1.0), (0.5, 3.0), (0.99, 4.0), (1.0, 4.0)])
def test_percentiles_are_measured_values(share: float, expected: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], share) == expected


def test_a_table_has_a_row_per_figure() -> None:
    assert table([FIGURE]).splitlines()[2:] == ["| ours beside theirs | 1.234 x | <= 1.5 | 200 |"]


def test_results_are_written_for_machines_and_people(tmp_path: Path) -> None:
    write("mine", [FIGURE], tmp_path)

    record = json.loads((tmp_path / "mine.json").read_text())
    assert record["name"] == "mine"
    assert record["command"] == "python -m bench mine"
    assert record["machine"].keys() == {"cpu", "cores"}
    assert record["figures"] == [
        {"compared": "ours beside theirs", "value": 1.2345, "unit": "x", "samples": 200, "aim": "<= 1.5"}
    ]
    assert "ours beside theirs" in (tmp_path / "mine.md").read_text()


def test_every_benchmark_is_found() -> None:
    assert {"router_decision", "router_overhead", "router_stream"} <= set(command.names())


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(SystemExit, match=r"no benchmark named nope; there are .*router_overhead"):
        command.main(["nope"])
