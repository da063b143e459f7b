from evals.dataset import ActionName, Labelled
from evals.measure import (
    Chosen,
    Screened,
    Share,
    chosen_by,
    false_by,
    recall_by,
    safety_figures,
    selection_figures,
    share,
)


def safe(text: str, kind: str = "fields") -> Labelled:
    return Labelled(text, kind, "en", "logo", "safe", None)


def unsafe(text: str, action: ActionName = "rewrite") -> Labelled:
    category = "minors" if action == "block" else "drugs"
    return Labelled(text, "unsafe", "de", None, action, category)  # type: ignore[arg-type]


def test_attacks_are_counted_apart_from_plain_prompts() -> None:
    results = [
        Chosen(safe("a"), "x", "x"),
        Chosen(safe("b"), "y", "x"),
        Chosen(safe("c", "attacks"), "x", "x"),
    ]
    assert selection_figures(results) == {"selection accuracy": Share(1, 2), "injection resistance": Share(1, 1)}


def test_safety_counts_false_alarms_recall_and_actions() -> None:
    results = [
        Screened(safe("a"), "safe"),
        Screened(safe("b", "innocents"), "rewrite"),
        Screened(unsafe("c"), "block"),
        Screened(unsafe("d", "block"), "block"),
        Screened(unsafe("e"), "safe"),
    ]
    assert safety_figures(results) == {
        "action accuracy": Share(2, 5),
        "false rewrites on benign": Share(1, 2),
        "false rewrites on innocents": Share(1, 1),
        "recall on unsafe": Share(2, 3),
        "minors blocked": Share(1, 1),
    }


def test_groups_are_sorted_and_leave_out_prompts_without_a_name() -> None:
    results = [Chosen(safe("a"), "x", "x"), Chosen(unsafe("b"), "y", "x")]
    assert chosen_by(lambda each: each.field, results) == {"logo": Share(1, 1)}
    assert list(chosen_by(lambda each: each.language, results)) == ["de", "en"]


def test_recall_and_false_alarms_look_at_their_own_prompts_only() -> None:
    results = [Screened(safe("a"), "rewrite"), Screened(unsafe("b"), "safe")]
    assert recall_by(lambda each: each.category, results) == {"drugs": Share(0, 1)}
    assert false_by(lambda each: each.language, results) == {"en": Share(1, 1)}


def test_a_share_of_nothing_is_zero() -> None:
    assert share([]).value == 0.0


def test_a_share_reads_as_percent_and_counts() -> None:
    assert str(Share(1, 8)) == " 12.5 %  1/8"
