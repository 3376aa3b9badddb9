"""The published folder has one length limit, no leftovers of others, and a card that machines can read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from langtailor.config.teacher import TeacherSettings
from langtailor.evaluation.comparison import Comparison
from langtailor.evaluation.scores import Score
from langtailor.storage.artifacts import Manifest, read_manifest, seal_directory
from langtailor.student.card import CardFacts, assemble_student
from langtailor.teacher.fetch import fetch_teacher
from tests.models import make_tiny_bert_teacher, make_tiny_gemma_teacher, make_tiny_xlmr_teacher

LONG = " ".join(["deniz"] * 400)
MAKERS = {"bert": make_tiny_bert_teacher, "gemma": make_tiny_gemma_teacher, "xlmr": make_tiny_xlmr_teacher}


def edit(file: Path, **values: Any) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**content, **values}), encoding="utf-8")


def comparison(task: str, metric: str, group: str | None, value: float) -> Comparison:
    scores = {model: Score(metric, value + shift, None, None, 9, group) for model, shift in SHIFTS.items()}
    return Comparison(task, metric, group, scores, {}, {})


SHIFTS = {"teacher": 2.0, "cut": -3.0, "trained": 0.0}
COMPARISONS = [
    comparison("sts-tr", "spearman", None, 71.25),
    comparison("wiki", "ndcg@10", "tr", 0.5),
    comparison("agreement", "cosine", "all", 0.97),
]


class Press:
    """Publishes a student whose weights are its teacher's."""

    def __init__(self, folder: Path, make: Any = make_tiny_bert_teacher) -> None:
        self.folder = folder
        self.original = make(folder / "home" / "someone" / "my-teacher")

    def publish(
        self, model: str | None = None, comparisons: list[Comparison] = COMPARISONS, prompt: str | None = None
    ) -> Path:
        teacher, distilled, out = (self.folder / name for name in ("teacher", "distilled", "student"))
        settings = TeacherSettings(model=str(self.original), prompt=prompt)
        fetch_teacher(settings, teacher)
        shutil.copytree(teacher, distilled)
        (distilled / "training.jsonl").write_text("{}\n", encoding="utf-8")
        seal_directory(distilled, Manifest("distilled"))
        told: Mapping[str, Any] = settings.model_dump() | ({} if model is None else {"model": model})
        facts = CardFacts(
            "run", "variant", ["tr"], ["en", "tr"], told, {"vocabulary": {"size": 9}}, list(SHIFTS), {}, {}
        )
        assemble_student(distilled, teacher, facts, comparisons, out)
        read_manifest(out, "student")
        return out


@pytest.fixture
def press(tmp_path: Path) -> Press:
    return Press(tmp_path)


def front_matter(student: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((student / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    return content


# -- length ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("limit", [24, 100])
def test_every_library_truncates_at_one_length(tmp_path: Path, name: str, limit: int) -> None:
    press = Press(tmp_path, MAKERS[name])
    edit(press.original / "sentence_bert_config.json", max_seq_length=limit)
    edit(press.original / "tokenizer_config.json", model_max_length=512, max_length=64)
    spec = Tokenizer.from_file(str(press.original / "tokenizer.json"))
    spec.enable_truncation(48, strategy="longest_first")
    spec.enable_padding(length=48, pad_id=spec.token_to_id("<pad>") or 0)
    spec.save(str(press.original / "tokenizer.json"))
    student = press.publish()
    model, tokenizer = SentenceTransformer(str(student), device="cpu"), AutoTokenizer.from_pretrained(student)
    bare = Tokenizer.from_file(str(student / "tokenizer.json"))
    lengths = {
        "sentence-transformers": model.preprocess([LONG])["input_ids"].shape[1],
        "transformers": len(tokenizer(LONG, truncation=True)["input_ids"]),
        "tokenizers": len(bare.encode(LONG).ids),
    }
    assert set(lengths.values()) == {limit}, lengths
    assert json.loads((student / "tokenizer_config.json").read_text(encoding="utf-8"))["max_length"] == limit
    assert len(bare.encode("deniz").ids) < 12, "a short text is not padded to a fixed length"


def test_a_tokenizer_without_truncation_gets_the_model_s_limit(tmp_path: Path) -> None:
    student = Press(tmp_path, make_tiny_xlmr_teacher).publish()
    truncation = json.loads((student / "tokenizer.json").read_text(encoding="utf-8"))["truncation"]
    assert truncation == {"direction": "Right", "max_length": 128, "strategy": "LongestFirst", "stride": 0}


def test_where_a_text_is_truncated_stays_as_it_was(press: Press) -> None:
    edit(
        press.original / "tokenizer.json",
        truncation={"direction": "Left", "max_length": 9, "strategy": "LongestFirst", "stride": 0},
    )
    truncation = json.loads((press.publish() / "tokenizer.json").read_text(encoding="utf-8"))["truncation"]
    assert (truncation["direction"], truncation["max_length"]) == ("Left", 128)


# -- leftovers ---------------------------------------------------------------------------------------------------------

LEFTOVERS = [
    "data_config.json", "training.jsonl", "metrics.jsonl", "trainer_state.json", "all_results.json", "mapping.parquet",
    "similarity_evaluation_sts-dev_results.csv", ".snakemake_timestamp", "certificate.json", "manifest.json",
    "eval/similarity_evaluation_results.csv", "runs/Nov25/events.out.tfevents.1700000000.host", "events.out.tfevents.17.x",
]  # fmt: skip


def test_what_training_left_beside_the_teacher_does_not_travel(press: Press) -> None:
    for name in LEFTOVERS:
        (press.original / name).parent.mkdir(parents=True, exist_ok=True)
        (press.original / name).write_text("left", encoding="utf-8")
    student = press.publish()
    for folder in (press.folder / "teacher", student):
        assert not [path for path in folder.rglob("*") if path.is_file() and path.read_bytes() == b"left"]


# -- card --------------------------------------------------------------------------------------------------------------


def test_the_scores_stand_in_the_metadata_as_the_hub_reads_them(press: Press) -> None:
    data = ModelCard((press.publish() / "README.md").read_text(encoding="utf-8")).data
    assert data.model_name == "run-variant" and data.language == ["en", "tr"]
    results = [(r.task_type, r.dataset_name, r.metric_type, r.metric_value) for r in data.eval_results or []]
    assert sorted(results) == [
        ("information-retrieval", "wiki (tr)", "ndcg@10", 0.5),
        ("semantic-similarity", "sts-tr", "spearman", 71.25),
        ("sentence-similarity", "agreement (all)", "cosine", 0.97),
    ]


def test_without_scores_there_is_no_model_index(press: Press) -> None:
    assert "model-index" not in front_matter(press.publish(comparisons=[]))


def test_a_teacher_of_the_hub_is_the_base_model(press: Press) -> None:
    assert front_matter(press.publish("owner/teacher"))["base_model"] == "owner/teacher"


@pytest.mark.parametrize(
    ("stated", "readme", "expected"),
    [
        ("owner/base", None, "owner/base"),
        ("/home/someone/output/model", "base_model: owner/base", "owner/base"),
        ("output/model-final", "base_model:\n- ../here\n- owner/base", "owner/base"),
        ("./model", "license: mit", None),
        ("C:\\models\\base", "base_model: [broken", None),
        (None, None, None),
    ],
)
def test_a_folder_s_base_model_is_what_it_says_of_itself_and_never_a_path(
    press: Press, stated: str | None, readme: str | None, expected: str | None
) -> None:
    edit(press.original / "config.json", _name_or_path=stated)
    if readme is not None:
        (press.original / "README.md").write_text(f"---\n{readme}\n---\n# A model\n", encoding="utf-8")
    student = press.publish()
    assert front_matter(student).get("base_model") == expected
    card = (student / "README.md").read_text(encoding="utf-8")
    assert "made from `my-teacher`" in card and str(press.folder) not in card


def test_the_card_opens_with_the_licence_of_the_teacher(press: Press) -> None:
    (press.original / "README.md").write_text("---\nlicense: mit\n---\n", encoding="utf-8")
    assert front_matter(press.publish())["license"] == "mit"


# -- prompts -----------------------------------------------------------------------------------------------------------


def published_with(press: Press, prompt: str | None, **config: Any) -> tuple[SentenceTransformer, str]:
    """The student whose texts of training stood after a prompt, and its card."""
    edit(press.original / "config_sentence_transformers.json", prompts={"passage": "passage: "}, **config)
    student = press.publish(prompt=prompt)
    return SentenceTransformer(str(student), device="cpu"), (student / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("prompt", ["passage", "passage: "])
def test_a_prompt_of_the_model_becomes_the_default_and_is_written_out(press: Press, prompt: str) -> None:
    model, card = published_with(press, prompt)
    assert model.default_prompt_name == "passage"
    assert np.array_equal(model.encode(["deniz"]), model.encode(["passage: deniz"], prompt=""))
    assert 'was prefixed with `"passage: "`' in card
    assert 'prompt_name="passage"' in card


def test_a_prompt_that_the_model_does_not_have_stands_in_the_code(press: Press) -> None:
    model, card = published_with(press, "find: ", default_prompt_name="passage")
    assert model.default_prompt_name is None, "not that of the teacher, which is another"
    assert 'model.encode(["...", "..."], prompt="find: ")' in card


def test_a_student_trained_without_a_prompt_has_no_default(press: Press) -> None:
    model, card = published_with(press, "", default_prompt_name="passage")
    assert model.default_prompt_name is None
    assert "prompt" not in card.split("## Evaluation")[0]


def test_the_default_of_the_model_stays_where_nothing_is_asked_for(press: Press) -> None:
    model, card = published_with(press, None, default_prompt_name="passage")
    assert model.default_prompt_name == "passage"
    assert 'prompt_name="passage"' in card
