"""What a run says of its own success."""

from __future__ import annotations

import pytest

from langtailor.distillation.outcome import is_untrained, not_finite, run_facts, warn_if_unhelpful


def validations(metric: str, *values: float) -> list[dict]:
    """Records of a run of ten steps for each value after the first, with a training step between."""
    records: list[dict] = []
    for index, value in enumerate(values):
        records += [{"step": 10 * index, "validation": {metric: value}}, {"step": 10 * index + 1, "loss": 0.0}]
    return records


@pytest.mark.parametrize(
    ("keep", "values", "figures"),
    [
        (
            "loss",
            (0.0055, 0.4180, 0.3000),
            "validation loss before it is 0.00550, the best after it 0.30000 (step 20)",
        ),
        ("loss", (0.5, 0.5), "0.50000, the best after it 0.50000 (step 10)"),
        (
            "cosine",
            (0.99, 0.80, 0.70),
            "validation cosine before it is 0.99000, the best after it 0.80000 (step 10)",
        ),
        (
            "sts",
            (70.0, 60.0, 65.0),
            "validation sts before it is 70.00000, the best after it 65.00000 (step 20)",
        ),
    ],
)
def test_a_training_that_did_not_help_says_so_with_both_figures_and_what_to_do(caplog, keep, values, figures):
    warn_if_unhelpful(keep, 0, validations(keep, *values))
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    message = record.getMessage()
    assert message.startswith("training did not help: ")
    assert figures in message
    assert "the student is the model before it. Lower learning_rate" in message


@pytest.mark.parametrize(
    ("keep", "values"), [("loss", (0.5, 0.6, 0.4)), ("cosine", (0.5, 0.4, 0.6)), ("sts", (50.0, 60.0, 40.0))]
)
def test_a_training_that_helped_warns_of_nothing(caplog, keep, values):
    warn_if_unhelpful(keep, 20, validations(keep, *values))
    assert not caplog.records


def test_the_last_weights_are_kept_where_that_is_the_setting(caplog):
    warn_if_unhelpful("last", 10, validations("loss", 0.1, 0.2))
    assert "the student is trained, as keep is last" in caplog.text


@pytest.mark.parametrize("records", [[], validations("loss", 0.1), [{"step": 5, "validation": {"loss": 0.1}}]])
def test_without_validations_to_compare_nothing_is_said(caplog, records):
    warn_if_unhelpful("loss", None, records)
    assert not caplog.records


def test_facts_hold_the_validations_of_the_clone_and_of_the_kept_weights():
    facts = run_facts(30, 25, 10, 8, validations("loss", 0.5, 0.2, 0.3))
    assert facts == {
        "planned_steps": 30,
        "steps": 25,
        "kept_step": 10,
        "passages": 200,
        "before": {"loss": 0.5},
        "after": {"loss": 0.2},
    }
    assert not is_untrained(facts)
    assert is_untrained({**facts, "kept_step": 0})


def test_an_error_names_sixteen_passages_and_counts_the_others():
    message = str(not_finite(3, 9, {"loss": float("nan")}, [f"tr:{number}" for number in range(20)]))
    assert message.startswith("step 3 of 9: loss nan is not finite. The batch's passages: tr:0, ")
    assert "tr:15 and 4 more. Lower learning_rate" in message
