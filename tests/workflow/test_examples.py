"""Each example runs by the command of its page, on a tiny teacher and without the network, and makes what the page says."""

import re
import shlex

import pytest
import yaml

from tests.models import make_tiny_bert_teacher
from tests.workflow.conftest import REMOVED, ROOT, changed
from tests.workflow.planner import run

pytestmark = [pytest.mark.examples, pytest.mark.timeout(1_800)]

EXAMPLES = {path.parent.name: path for path in sorted((ROOT / "examples").glob("*/config.yaml"))}
SAMPLE = {"sample": {"kind": "sample"}}
#: What makes an example small: a vocabulary that fits the teacher, and text that is at hand.
SMALL = {
    "corpus.quotas": {"train": 60, "validation": 12, "test": 12},
    "corpus.cleaning": {"min_characters": 8, "near_duplicate_similarity": None},
    "vocabulary.min_count": 0,
}
CHANGES = {
    "cut-to-two-languages": {"corpus.sources": SAMPLE, "vocabulary.size": 420},
    "train-for-retrieval": {"corpus.sources": SAMPLE, "vocabulary.size": 420, "queries.made": 40},
    "sweep-sizes": {
        "corpus.sources": SAMPLE,
        "variants.tokens-16k.vocabulary.size": 380,
        "variants.tokens-32k.vocabulary.size": 400,
        "variants.tokens-64k.vocabulary.size": 420,
        "evaluation.tasks.fertility": REMOVED,
    },
    "teach-a-language": {
        "vocabulary.size": 420,
        "corpus.sources.pairs.path": str(ROOT / "workflow/langtailor/corpus/sample/{lang}.txt"),
        "corpus.sources.pairs.pair_path": str(ROOT / "workflow/langtailor/corpus/sample/en.txt"),
        "corpus.sources.english.path": str(ROOT / "workflow/langtailor/corpus/sample/en.txt"),
    },
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_makes_what_its_page_says(name, tmp_path):
    page = (EXAMPLES[name].parent / "README.md").read_text(encoding="utf-8")
    config = yaml.safe_load(EXAMPLES[name].read_text(encoding="utf-8"))
    teacher = {"teacher.model": str(make_tiny_bert_teacher(tmp_path / "teacher"))}
    small = tmp_path / "small.yaml"
    small.write_text(yaml.safe_dump(changed(config, {**teacher, **SMALL, **CHANGES[name]})), encoding="utf-8")

    command = re.search(r"^snakemake --cores all (.*)$", page, re.MULTILINE)
    *targets, option, file = shlex.split(command[1])
    assert (option, ROOT / file) == ("--configfile", EXAMPLES[name])
    place = ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path), "--cores", "2"]
    code, said = run([*targets, *place, option, str(small)], timeout=1_700)
    assert code == 0, said[-5_000:]

    named = re.findall(r"`(results/[^`]+)`", page)
    assert named
    assert [path for path in named if not (tmp_path / path).exists()] == []


def test_the_list_names_every_example():
    page = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\(([\w-]+)/README.md\)", page)) == set(EXAMPLES)
