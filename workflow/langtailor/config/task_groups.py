"""Ready groups of evaluation tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Ready groups of MTEB tasks: names in the package `mteb`, and whether a task has other languages to leave out.
TASK_GROUPS: Mapping[str, Mapping[str, bool]] = {
    "turkish": {
        "BelebeleRetrieval": True,
        "FloresBitextMining": True,
        "MKQARetrieval": True,
        "MassiveIntentClassification": True,
        "MassiveScenarioClassification": True,
        "SIB200Classification.v3": True,
        "SIB200ClusteringS2S": True,
        "STS17": True,
        "STS22.v2": True,
        "Tatoeba": True,
        "TurHistQuadRetrieval": False,
        "TurkishConstitutionalCourtViolation": False,
        "TurkishMovieSentimentClassification.v2": False,
        "TurkishProductSentimentClassification.v2": False,
        "TurkishRAGEvalRetrieval": False,
        "WebFAQRetrieval": True,
        "XNLI": True,
        "XQuADRetrieval": True,
    }
}
_GROUP_LANGUAGES = {"turkish": ("tur",)}


def grouped_tasks(group: str) -> dict[str, dict[str, Any]]:
    """The tasks of a ready group, by the names under which they are shown."""
    return {
        f"mteb-{task.replace('.', '-')}": {
            "kind": "mteb",
            "task": task,
            "languages": _GROUP_LANGUAGES[group] if multilingual else (),
        }
        for task, multilingual in TASK_GROUPS[group].items()
    }
