"""What a user can get wrong is refused in one message, without a stack trace, and nothing computed before is lost."""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from langtailor.corpus.reading import split_counts
from tests.faults.conftest import FaultyRun, without_trace
from tests.models import make_tiny_bert_teacher
from tests.workflow import planner
from tests.workflow.conftest import changed

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def run(undisturbed, tmp_path_factory) -> FaultyRun:
    return undisturbed.copy(tmp_path_factory.mktemp("input"))


# The configuration: refused before anything runs.


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"vocabulary.sise": 420}, "config `vocabulary.sise`"),
        ({"seed": "forty-two"}, "config `seed`: .*; found 'forty-two'"),
        ({"teacher.dtype": "float8"}, "config `teacher.dtype`: .*'float32' or 'bfloat16'; found 'float8'"),
        ({"corpus.quotas.train": -1}, "config `corpus.quotas.train`: .*greater than or equal to 1; found -1"),
        ({"variants": {"../up": {}}}, r"config `variants`: the key '\.\./up' must be a name"),
        ({"corpus.languages.xx": {}}, "the sample corpus has no language 'xx'; it has ar, de, en"),
        (
            {"evaluation.tasks.sts": {"kind": "sts", "path": "nowhere.csv"}},
            "config `evaluation.tasks.sts`: nowhere.csv is missing",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_configuration_is_refused_by_key_before_anything_runs(run, values, says):
    code, said = run.run("-n", "evaluation", config=changed(run.config, values))
    assert code != 0
    assert re.search(says, said), said
    assert without_trace(said)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("run: [small\n", "Config file is not valid JSON or YAML"),
        ("", "Config file must be given as JSON or YAML with keys at top level"),
        ("{whole}run: other\n", r"config `run`: is given twice in \S+, in lines \d+ and \d+"),
    ],
    ids=["syntax", "empty", "repeated key"],
)
def test_a_configuration_file_is_refused(run, text, says):
    arguments = run.arguments("-n", "all")
    Path(arguments[-1]).write_text(text.replace("{whole}", yaml.safe_dump(run.config)), encoding="utf-8")
    code, said = planner.run(arguments)
    assert code != 0
    assert re.search(says, said), said
    assert without_trace(said)


# Sources: one language for each, all asked for at once.


@dataclass(frozen=True)
class Source:
    """A file of text that cannot be read.

    Attributes:
        name: of the file.
        content: what it holds.
        says: what the message says, after the file.
        settings: of the source, besides its path.
    """

    name: str
    content: bytes
    says: str
    settings: tuple[tuple[str, str], ...] = ()


SOURCES = {
    "empty": Source("a.txt", b"", "has no text"),
    "blank": Source("a.txt", b"\n  \n\n", "has no text"),
    "utf8": Source("a.txt", b"fine\n\xff\xfe\n", r"a\.txt, line 2: is not UTF-8 \(byte 1"),
    "tsv": Source("a.tsv", b"one\tbir\ntwo iki\n", r"a\.tsv, line 2: has 1 tab-separated columns where 2 are expected"),
    "json": Source("a.jsonl", b'{"text": "one"}\n{"text": "two"\n', r"a\.jsonl, line 2: is not JSON"),
    "json-list": Source("a.jsonl", b"[1]\n", r"a\.jsonl, line 1: is a JSON list where an object"),
    "field": Source("a.jsonl", b'{"txt": "one"}\n', r"a\.jsonl, line 1: has no field 'text'; it has txt"),
    "parquet": Source("a.parquet", b"PAR1, says the file\n", r"a\.parquet cannot be read"),
    "gzip": Source("a.txt.gz", b"no archive", r"a\.txt\.gz cannot be read"),
    "pair": Source("a.txt", b"one\ntwo\n", r"a\.txt has 2 lines and .*b\.txt 3", (("pair_path", "b.txt"),)),
}
#: Odd text that is text.
ODD = {
    "one-line": b"One sentence and no more of them than this one.\n",
    "long-line": b"A sentence that comes again and again. " * 270_000,
    "nul": b"A sentence with \0 in it.\nAnother one, which is whole.\nAnd here is a third one for them.\n",
}


@pytest.fixture(scope="module")
def read(run) -> str:
    """What was said when all sources were read."""
    folder = run.folder / "own"
    sources, languages = {}, {}
    for lang, source in SOURCES.items():
        (folder / lang).mkdir(parents=True)
        (folder / lang / "b.txt").write_text("bir\niki\nüç\n", encoding="utf-8")
        (folder / lang / source.name).write_bytes(source.content)
        settings = {key: f"own/{lang}/{value}" for key, value in source.settings}
        sources[lang] = {"kind": "files", "path": f"own/{lang}/{source.name}", **settings}
    for lang, content in ODD.items():
        (folder / f"{lang}.txt").write_bytes(content)
        sources[lang] = {"kind": "files", "path": f"own/{lang}.txt"}
    languages = {**run.config["corpus"]["languages"], **{lang: {"source": lang} for lang in sources}}
    for lang in run.config["corpus"]["languages"]:
        languages[lang] = {"source": "sample"}
    values = {"corpus.languages": languages, "corpus.sources": {"sample": {"kind": "sample"}, **sources}}
    wanted = [f"results/small/corpus/{lang}.parquet" for lang in sources]
    code, said = run.run("--keep-going", *wanted, config=changed(run.config, values))
    assert code != 0
    return said


@pytest.mark.parametrize("lang", SOURCES)
def test_a_source_that_cannot_be_read_is_named_with_the_place(run, read, lang):
    said = re.findall(rf"^\[fetch_documents {lang}\] error: (.*)$", read, re.MULTILINE)
    assert len(said) == 1, read
    assert re.search(SOURCES[lang].says, said[0])
    assert re.search(rf"own/{lang}/a|{lang!r}", said[0])
    assert said[0] in run.log(f"fetch_documents/{lang}.log")
    assert without_trace(run.log(f"fetch_documents/{lang}.log"))
    assert not (run.results / "corpus" / "documents" / f"{lang}.parquet").exists()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing.txt", r"missing\.txt does not exist \(`path:"),
        ("here.docx", r"here\.docx is none of .*\.jsonl.*\.parquet"),
    ],
)
def test_a_source_that_is_not_there_is_named_before_anything_runs(run, tmp_path, name, says):
    (tmp_path / "here.docx").write_bytes(b"PK")
    source = {"kind": "files", "path": str(tmp_path / name)}
    config = changed(run.config, {"corpus.sources.mine": source, "corpus.languages.xx": {"source": "mine"}})
    for lang in ("en", "tr"):
        config["corpus"]["languages"][lang] = {"source": "sample"}
    code, said = planner.run(run.arguments("-n", "all", config=config))
    assert code != 0
    assert re.search(says, said), said
    assert without_trace(said)


def test_odd_text_is_text_and_no_trace_is_shown(run, read, expected):
    passages = {lang: split_counts(run.results / "corpus" / f"{lang}.parquet") for lang in ODD}
    assert passages["one-line"] == {"train": 1, "validation": 0, "test": 0}
    assert sum(passages["nul"].values()) == 3
    assert sum(passages["long-line"].values()) >= 1
    assert without_trace(read)
    assert {name for name in expected if run.digests().get(name) != expected[name]} == set()


# Teachers.


def _without(name: str):
    return lambda folder: (folder / name).unlink()


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _other_family(folder: Path) -> None:
    file = folder / "tokenizer.json"
    spec = json.loads(file.read_text(encoding="utf-8"))
    spec["model"] = {"type": "WordLevel", "vocab": spec["model"]["vocab"], "unk_token": "[UNK]"}
    file.write_text(json.dumps(spec), encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_without("tokenizer.json"), "has no tokenizer.json next to modules.json: a fast tokenizer is needed"),
        (_pickled, "has pytorch_model.bin but no safetensors weights next to it"),
        (_without("modules.json"), "has no modules.json: it is not a sentence-transformers model"),
        (_other_family, "has a model of type 'WordLevel'; BPE, Unigram, WordPiece can be pruned"),
        (shutil.rmtree, "is not a folder; give a folder, a Hub id or package:NAME/FOLDER"),
    ],
    ids=["no fast tokenizer", "pickle", "no sentence-transformers", "unsupported family", "no folder"],
)
def test_a_teacher_that_cannot_be_used_is_refused_first(run, tmp_path, spoil, says):
    spoil(make_tiny_bert_teacher(tmp_path / "teacher"))
    config = changed(run.config, {"run": "other", "teacher.model": str(tmp_path / "teacher")})
    code, said = run.run("results/other/teacher/model", config=config)
    assert code != 0
    assert re.search(says, said), said
    assert without_trace(said)
    assert not (run.folder / "results" / "other" / "teacher" / "model").exists()


# Sizes and evaluation data: many at once, beside what is finished.


def test_a_vocabulary_that_cannot_be_is_refused_with_what_can(run, expected):
    variants = {
        "tailored": {},
        "small": {"vocabulary": {"size": 8}},
        "large": {"vocabulary": {"size": 100_000, "graft": {"share": 0.0}}},
    }
    wanted = ["results/small/vocabulary/small.parquet", "results/small/vocabulary/large.parquet"]
    code, said = run.run("--keep-going", *wanted, config=changed(run.config, {"variants": variants}))
    assert code != 0
    assert re.search(
        r"\[select_vocabulary small\] error: config `vocabulary.size`: 8 .*alphabet and keep_tokens need \d+", said
    )
    assert re.search(
        r"\[select_vocabulary large\] error: config `vocabulary.size`: 100,000 is too large: the teacher has", said
    )
    assert without_trace(said)
    assert {name for name in expected if run.digests().get(name) != expected[name]} == set()


STS = "sentence1,sentence2,score\nOne.,Bir.,5\nTwo.,Iki.,{score}\n"
TASKS: dict[str, tuple[dict[str, Any], dict[str, str | bytes], str]] = {
    "column": (
        {"kind": "sts", "path": "c.csv"},
        {"c.csv": "first,second,score\na,b,1\n"},
        "c.csv: no column 'sentence1'",
    ),
    "score": ({"kind": "sts", "path": "s.csv"}, {"s.csv": STS.replace("{score}", "high")}, "s.csv.*'high'"),
    "lengths": (
        {"kind": "bitext", "source": "one.txt", "target": "two.txt"},
        {"one.txt": "one\ntwo\n", "two.txt": "bir\n"},
        "one.txt has 2 lines and two.txt has 1: not aligned",
    ),
    "parquet": ({"kind": "sts", "path": "p.parquet"}, {"p.parquet": "text"}, "p.parquet: cannot be read as a table"),
    "lines": (
        {"kind": "clustering", "path": "l.jsonl"},
        {"l.jsonl": '{"text": "a", "label": "b"}\n{"text"\n'},
        "l.jsonl: cannot be read as a table",
    ),
    "encoding": (
        {"kind": "bitext", "source": "x.txt", "target": "y.txt"},
        {"x.txt": b"\xff\n", "y.txt": "bir\n"},
        "x.txt: cannot be read as lines of text",
    ),
    "labels": (
        {"kind": "classification", "train": "t.tsv", "test": "t.tsv"},
        {"t.tsv": "text\tlabel\none\ta\ntwo\ta\n"},
        "t.tsv: the column 'label' has 1 labels",
    ),
    "judgements": (
        {"kind": "retrieval", "corpus": "d.jsonl", "queries": "q.jsonl", "qrels": "r.tsv"},
        {
            "d.jsonl": '{"_id": "d", "text": "one"}\n',
            "q.jsonl": '{"_id": "q", "text": "one"}\n',
            "r.tsv": "query-id\tcorpus-id\tscore\nq\tnobody\t1\n",
        },
        "r.tsv: judges no document relevant",
    ),
}


@pytest.fixture(scope="module")
def scored(run) -> str:
    """What was said when all tasks were run."""
    for _, files, _ in TASKS.values():
        for name, content in files.items():
            (run.folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    values = {
        "evaluation.tasks": {
            **run.config["evaluation"]["tasks"],
            **{name: task for name, (task, _, _) in TASKS.items()},
        }
    }
    code, said = run.run("results/small/evaluation/teacher", config=changed(run.config, values))
    assert code != 0
    return said


@pytest.mark.parametrize("name", TASKS)
def test_evaluation_data_that_cannot_be_read_is_named(run, scored, name):
    said = re.findall(rf"^\[evaluate_teacher\] error: task {name}: (.*)$", scored, re.MULTILINE)
    assert len(said) == 1, scored
    assert re.search(TASKS[name][2], said[0])
    assert without_trace(scored)


def test_tasks_that_fail_lose_nothing_of_the_others(run, scored):
    assert f"[evaluate_teacher] error: {len(TASKS)} of {len(TASKS) + 1} tasks failed" in scored
    code, said = run.run("results/small/evaluation/teacher")
    assert code == 0, said
    assert "task agreement: taken from the score cache" in run.log("evaluate/teacher.log")


def test_a_place_that_cannot_be_written_to_is_named(run):
    blocked = run.folder / "blocked"
    blocked.write_text("a file where a folder is needed", encoding="utf-8")
    config = changed(run.config, {"results": str(blocked)})
    code, said = run.run(f"{blocked}/small/corpus/documents/tr.parquet", config=config)
    assert code != 0
    assert re.search(r"config `results`: .*blocked", said), said
    assert without_trace(said)
