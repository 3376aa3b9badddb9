"""Files that a configuration names and that are not there: better known before the first job than hours later."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from langtailor.config.corpus import FilesSource
from langtailor.config.run import Settings
from langtailor.config.teacher import is_local
from langtailor.corpus.local_files import files_corpus
from langtailor.errors import ConfigError, LangtailorError
from langtailor.teacher.fetch import errors_about, local_folder
from langtailor.vocabulary.donor import own_graft_files


def check_own_files(settings: Settings, root: Path) -> None:
    """Refuse a configuration that names files which are not there. What a run already has needs its source no more.

    Args:
        settings: the configuration.
        root: the run's folder.

    Raises:
        ConfigError: names the key and the file.
        SourceError: a language's text cannot be used; names the file.
    """
    if error := next(_errors(settings, root), None):
        raise error


def _errors(settings: Settings, root: Path) -> Iterator[LangtailorError]:
    yield from _folder_errors("teacher", settings.teacher.model, root / "teacher" / "model")
    if settings.base:
        yield from _folder_errors("student", settings.base.model, root / "base" / "model")
    for lang in settings.corpus.languages:
        if not (root / "corpus" / f"{lang}.parquet").exists():
            yield from _text_errors(settings, lang)
    for key, path in _named_files(settings):
        if not path.is_file():
            found = "is a folder; name a file" if path.is_dir() else "is missing"
            yield ConfigError(key, f"{path} {found}")


def _folder_errors(section: str, model: str, fetched: Path) -> Iterator[LangtailorError]:
    # A package may be installed only where the job runs.
    if is_local(model) and not model.startswith("package:") and not fetched.exists():
        yield from _raised(errors_about(section)(local_folder), model)


def _text_errors(settings: Settings, lang: str) -> Iterator[LangtailorError]:
    source = settings.source(lang)
    if isinstance(source, FilesSource):
        yield from _raised(files_corpus, source, settings.name_in_source(lang))


def _raised(find: Callable[..., object], *arguments: Any) -> Iterator[LangtailorError]:
    try:
        find(*arguments)
    except LangtailorError as error:
        yield error


def _named_files(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Files that have to be there whatever has been made, by key."""
    for name in settings.evaluation.tasks:
        for file in settings.task_needs(name).files:
            yield f"evaluation.tasks.{name}", Path(file)
    for lang in settings.queries.pairs if settings.query_languages else ():
        for file in settings.queries.files(lang):
            yield f"queries.pairs.{lang}", Path(file)
    for variant in settings.complete_variants.values():
        for key, path in own_graft_files(variant.vocabulary.graft).items():
            yield f"vocabulary.graft.{key}", path
        pairs = variant.distillation.validation_sts if variant.distillation else None
        if pairs and pairs.path:
            yield "distillation.validation_sts.path", Path(pairs.path)
