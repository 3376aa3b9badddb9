"""The teacher's vectors as a data set of the Hub."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import DatasetCardData

from langtailor.config.base import SPLITS
from langtailor.config.teacher import is_local
from langtailor.corpus.reading import read_corpus
from langtailor.errors import ArtifactError
from langtailor.models.model_card import described_origin
from langtailor.publish.receipt import write_receipt
from langtailor.sources.hub_client import PATIENCE, Patience
from langtailor.sources.hub_upload import Target, upload
from langtailor.storage.artifacts import Manifest, read_manifest, seal_directory
from langtailor.storage.atomic import scratch_directory
from langtailor.student.markdown import markdown_template
from langtailor.vectors.origin import decisive, teacher_digest
from langtailor.vectors.published import PUBLISHED_KIND, published_folder, write_published
from langtailor.vectors.store import VectorShard, VectorStore, texts_read


@dataclass(frozen=True)
class Request:
    """What to publish.

    Attributes:
        teacher: the teacher's folder (kind ``teacher``).
        model: the teacher as the configuration names it.
        shards: vector shards by language, in order.
        corpora: corpus by language, whose texts are published, too; ``None`` publishes none.
    """

    teacher: Path
    model: str
    shards: Mapping[str, Sequence[Path]]
    corpora: Mapping[str, Path] | None


def publish_vectors(request: Request, target: Target, out: Path, patience: Patience = PATIENCE) -> None:
    """Publish vectors with a card, in one commit, or in none where the data set has them already.

    Args:
        request: what to publish.
        target: the data set.
        out: the receipt.
        patience: how long to try.

    Raises:
        ArtifactError: an input is damaged, or vectors and corpus do not belong together.
        HubError: as for :func:`langtailor.sources.hub_upload.upload`.
    """
    teacher = read_manifest(request.teacher, "teacher")
    model = request.model if not is_local(request.model) else described_origin(request.teacher)
    with scratch_directory(out) as scratch:
        passages = {lang: _write(request, lang, scratch) for lang in request.shards}
        first = VectorShard.open(next(iter(request.shards.values()))[0], verify=False)
        prompts = {lang: _prompt(shards) for lang, shards in request.shards.items()}
        reading = {key: value for key, value in decisive(first.manifest.made_by).items() if key != "prompt"}
        reading |= {"prompts": prompts, "reads": first.manifest.made_by["reads"], "model": model}
        inputs = {"teacher": teacher_digest(teacher), "commit": teacher.inputs.get("commit")}
        facts = {"passages": passages, "dimension": first.vectors.shape[1], "text": request.corpora is not None}
        manifest = Manifest(PUBLISHED_KIND, reading, inputs, facts)
        (scratch / "README.md").write_text(dataset_card(manifest, teacher, target.name), encoding="utf-8")
        seal_directory(scratch, manifest)
        files = {path.relative_to(scratch).as_posix(): path for path in scratch.rglob("*") if path.is_file()}
        write_receipt(out, upload(files, target, "Publish teacher vectors made by langtailor", patience))


def _prompt(shards: Sequence[Path]) -> str:
    """What the teacher read before the text of a language."""
    return str(VectorShard.open(shards[0], verify=False).manifest.made_by["prompt"])


def _write(request: Request, lang: str, scratch: Path) -> dict[str, int]:
    """Write the files of a language; returns passages by split."""
    store = VectorStore.open(request.shards[lang])
    texts = None if request.corpora is None else _texts(store, request.corpora[lang])
    counts: Counter[str] = Counter()
    for shard, start in zip(store.shards, store.starts.tolist(), strict=False):
        rows = len(shard.ids)
        if rows:
            out = scratch / published_folder(lang) / f"{shard.path.stem}.parquet"
            write_published(shard, lang, None if texts is None else texts[start : start + rows], out)
            counts.update(shard.splits.to_pylist())
    return {split: counts[split] for split in SPLITS}


def _texts(store: VectorStore, corpus: Path) -> list[str]:
    """What the teacher read of each passage of a language, without the prompt."""
    passages = read_corpus(corpus, columns=["id", "text", "pair"])
    row = {name: number for number, name in enumerate(passages["id"].to_pylist())}
    names = [name for shard in store.shards for name in shard.ids.to_pylist()]
    if absent := next((name for name in names if name not in row), None):
        raise ArtifactError(
            store.shards[0].path, f"was made from another corpus: the current corpus lacks passage {absent}"
        )
    stored = passages.take([row[name] for name in names])
    store.check_texts(stored)
    return texts_read(stored, store.shards[0].manifest.made_by["reads"])


def dataset_card(manifest: Manifest, teacher: Manifest, repo: str) -> str:
    """The data set's card (https://huggingface.co/docs/hub/datasets-cards).

    Args:
        manifest: that of the data set.
        teacher: that of the teacher's folder.
        repo: ``owner/name``.
    """
    passages: Mapping[str, Mapping[str, int]] = manifest.facts["passages"]
    written = [lang for lang, counts in passages.items() if sum(counts.values())]
    metadata = DatasetCardData(
        language=sorted(passages),
        pretty_name=f"Vectors of {manifest.made_by['model'] or 'a local model'}",
        tags=["sentence-embeddings", "langtailor"],
        configs=[
            {"config_name": lang, "data_files": [{"split": "passages", "path": f"{published_folder(lang)}/*.parquet"}]}
            for lang in written
        ],
    )
    return markdown_template("langtailor.publish", "dataset.md.jinja").render(
        front_matter=metadata.to_yaml().strip(),
        manifest=manifest,
        licence=teacher.facts.get("license"),
        passages=passages,
        first=written[0] if written else None,
        prompts=set(manifest.made_by["prompts"].values()),
        splits=SPLITS,
        repo=repo,
    )
