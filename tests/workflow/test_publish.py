"""The finished run is published on a loopback Hub, and its vectors come back from there as the same bytes."""

import shutil

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from langtailor.storage.artifacts import read_json
from tests.conftest import HUB
from tests.workflow.conftest import Workflow, changed
from tests.workflow.planner import dry_run

pytestmark = pytest.mark.timeout(900)

TOKEN = "hf_averysecrettokenindeed"
PUBLISH = {"publish": {"repo": "someone/e5-{variant}", "vectors": "someone/vectors"}}


@pytest.fixture
def hub(monkeypatch):
    """A Hub, and a token in the environment that may write there."""
    HUB.clear()
    HUB.tokens[TOKEN] = True
    HUB.uploads.writers[TOKEN] = {"someone"}
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield HUB
    HUB.clear()


@pytest.fixture
def run(finished, tmp_path) -> Workflow:
    """A copy of the finished run, which a test may change."""
    return finished.copy(tmp_path / "run")


def test_a_run_is_published_when_asked_and_its_vectors_come_back(hub, run):
    config = changed(run.config, PUBLISH)
    assert run.planned(config) == {}, "nothing is published that is not asked for"
    assert run.planned(config, "publish") == {"upload_model": 1, "upload_vectors": 1, "publish": 1}
    first = run.snakemake("publish", config=config)
    assert first.returncode == 0, first.stdout[-3_000:] + first.stderr[-3_000:]

    model, vectors = hub.repos["models/someone/e5-tailored"], hub.repos["datasets/someone/vectors"]
    assert (model.private, vectors.private) == (True, True)
    assert len(hub.uploads.commits) == 2
    receipt = read_json(run.results / "publish" / "model" / "tailored.json", "publication")
    assert receipt == {"page": f"{hub.endpoint}/someone/e5-tailored", "commit": model.refs["main"]}
    downloaded = run.folder / "downloaded"
    for name, data in model.content.items():
        (downloaded / name).parent.mkdir(parents=True, exist_ok=True)
        (downloaded / name).write_bytes(data)
    texts = ["Bugün hava çok güzel.", "The weather is lovely."]
    ours, theirs = (
        SentenceTransformer(str(folder), device="cpu").encode(texts)
        for folder in (run.results / "student" / "tailored", downloaded)
    )
    np.testing.assert_array_equal(ours, theirs)
    everything = [*model.content.values(), *vectors.content.values()]
    assert not any(str(run.config["teacher"]["model"]).encode() in data for data in everything)

    assert run.planned(config, "publish") == {}, "what is published is not published again"
    again = run.snakemake("publish", "--forcerun", "upload_model", "upload_vectors", config=config)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("nothing to commit") == 2
    assert len(hub.uploads.commits) == 2
    logs = [path.read_text(encoding="utf-8") for path in (run.results / "logs").rglob("*.log")]
    assert TOKEN not in "".join([first.stdout, first.stderr, again.stdout, again.stderr, *logs])

    taken = changed(config, {"vectors.source": {"dataset": "someone/vectors"}})
    before = run.digests()
    shutil.rmtree(run.results / "shard_cache")
    assert run.planned(taken, "vectors") == {"fetch_vectors": 2, "teacher_vectors": 1, "vectors": 1}
    back = run.snakemake("vectors", config=taken)
    assert back.returncode == 0, back.stdout[-3_000:] + back.stderr[-3_000:]
    said = (run.results / "logs" / "teacher_vectors" / "0000.log").read_text(encoding="utf-8")
    assert "distinct texts" not in said, "nothing was encoded"
    after = run.digests()
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {f"vectors/published/{lang}.arrow" for lang in ("en", "tr")}


def test_a_run_that_names_nothing_to_publish_says_so(finished):
    code, said = dry_run(finished.arguments("publish"))
    assert code != 0
    assert "set `publish.repo`, `publish.vectors` or both" in said
