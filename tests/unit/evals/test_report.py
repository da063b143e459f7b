import json
from pathlib import Path

from evals.measure import Share
from evals.report import figures, table, write

RESULTS = {
    "rules": {"recall on unsafe": Share(9, 10)},
    "both": {"recall on unsafe": Share(10, 10), "more": Share(1, 2)},
}


def test_a_table_has_a_column_a_judge_and_gaps_where_one_has_no_figure() -> None:
    assert table("figure", RESULTS).splitlines() == [
        "| figure | rules | both |",
        "|---|---:|---:|",
        "| recall on unsafe | 90.0 %  9/10 | 100.0 %  10/10 |",
        "| more |  | 50.0 %  1/2 |",
    ]


def test_figures_carry_unit_aim_and_samples() -> None:
    first = figures(RESULTS)[0]
    assert (first.compared, first.value, first.unit, first.aim, first.samples) == (
        "recall on unsafe, rules",
        90.0,
        "%",
        "> 85 %",
        10,
    )


def test_what_is_written_names_the_command_and_the_kind_of_machine(tmp_path: Path) -> None:
    write(figures(RESULTS), ["a table"], "python -m evals.run", tmp_path)
    record = json.loads((tmp_path / "eval_prompts.json").read_text())
    assert set(record) == {"name", "figures", "command", "machine"}
    assert set(record["machine"]) == {"cpu", "cores"}
    assert "a table" in (tmp_path / "eval_prompts.md").read_text()
