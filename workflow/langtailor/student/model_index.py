"""Scores in a card's metadata, as the Hub lists them (https://huggingface.co/docs/hub/model-cards#evaluation-results)."""

from __future__ import annotations

from huggingface_hub import EvalResult

#: What the Hub calls a task, by the beginnings of its metrics' names.
_TASK_TYPES = {
    "semantic-similarity": ("spearman", "pearson"),
    "information-retrieval": ("ndcg", "recall", "mrr", "map"),
}
_OTHER_TASK = "sentence-similarity"


def eval_result(task: str, metric: str, value: float, group: str | None = None) -> EvalResult:
    """A score as an entry of ``model-index``.

    Args:
        task: name of the task.
        metric: the metric, as evaluation names it.
        value: the score.
        group: the language or direction that it is of; ``None`` for the whole task.
    """
    return EvalResult(
        task_type=next((name for name, metrics in _TASK_TYPES.items() if metric.startswith(metrics)), _OTHER_TASK),
        dataset_type=task,
        dataset_name=task if group is None else f"{task} ({group})",
        dataset_config=group,
        metric_type=metric.replace(" ", "_"),
        metric_name=metric,
        metric_value=round(value, 4),
    )
