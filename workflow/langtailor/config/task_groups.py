"""Ready groups of evaluation tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TURKISH_RETRIEVAL = {
    "BelebeleRetrieval": True,
    "MKQARetrieval": True,
    "TurHistQuadRetrieval": False,
    "TurkishRAGEvalRetrieval": False,
    "WebFAQRetrieval": True,
    "XQuADRetrieval": True,
}
#: Ready groups of MTEB tasks: names in the package `mteb`, which pins the revision of each, and whether a task has other
#: languages to leave out.
TASK_GROUPS: Mapping[str, Mapping[str, bool]] = {
    "turkish": {
        **_TURKISH_RETRIEVAL,
        "FloresBitextMining": True,
        "MassiveIntentClassification": True,
        "MassiveScenarioClassification": True,
        "SIB200Classification.v3": True,
        "SIB200ClusteringS2S": True,
        "STS17": True,
        "STS22.v2": True,
        "Tatoeba": True,
        "TurkishConstitutionalCourtViolation": False,
        "TurkishMovieSentimentClassification.v2": False,
        "TurkishProductSentimentClassification.v2": False,
        "XNLI": True,
    },
    "turkish-retrieval": _TURKISH_RETRIEVAL,
}
_GROUP_LANGUAGES = {"turkish": ("tur",), "turkish-retrieval": ("tur",)}


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
