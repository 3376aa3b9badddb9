"""Which files of a data set of the Hub make up a subset and a split, found as the library ``datasets`` finds them.

That is from the ``configs`` in the README, or else from the names of folders and files
(https://huggingface.co/docs/datasets/repository_structure).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from datasets.data_files import DataFilesList, EmptyDatasetError, get_data_patterns, sanitize_patterns
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard

from langtailor.errors import SourceError


def parquet_files(fs: Any, root: str, subset: str, split: str) -> list[str]:
    """Find the Parquet files of a split; no data is read.

    Args:
        fs: the Hub.
        root: the data set at a commit, as ``hf://datasets/owner/name@commit``.
        subset: a name in the README's ``configs``; without these a folder, or ``default`` for all.
        split: name of the split.

    Returns:
        Paths below ``root``, sorted.

    Raises:
        SourceError: there is no such subset or split, or it is not Parquet.
    """
    label = f"{root.removeprefix('hf://')}, subset {subset!r}, split {split!r}"
    base, patterns = _patterns(fs, root, subset)
    if split not in patterns:
        raise SourceError(f"{label}: there is no such split; there are {', '.join(patterns) or 'none'}.")
    if foreign := [pattern for pattern in patterns[split] if _leaves(pattern)]:
        raise SourceError(f"{label}: its files are outside the data set ({foreign[0]}), where no revision holds them.")
    try:
        files = list(DataFilesList.from_patterns(patterns[split], base_path=base))
    except FileNotFoundError:
        files = []
    parquet = sorted({file.removeprefix(f"{root}/") for file in files if file.endswith(".parquet")})
    if not parquet:
        suffixes = sorted({"".join(PurePosixPath(file).suffixes) or "without ending" for file in files})
        raise SourceError(
            f"{label}: has no Parquet files (found: {', '.join(suffixes) or 'no data files'}), and only Parquet is "
            "supported. The Hub keeps a Parquet copy of many data sets: try `revision: refs/convert/parquet`."
        )
    return parquet


def _patterns(fs: Any, root: str, subset: str) -> tuple[str, dict[str, list[str]]]:
    """The folder of a subset and its file patterns by split."""
    configs = _configs(fs, root)
    if subset in configs:
        folder = configs[subset].get("data_dir")
        base, patterns = f"{root}/{folder}" if folder else root, configs[subset].get("data_files")
    else:
        base, patterns = root if subset == "default" else f"{root}/{subset}", None
        if configs or not fs.isdir(base):
            raise SourceError(_no_subset(fs, root, subset, sorted(configs)))
    try:
        return base, get_data_patterns(base) if patterns is None else sanitize_patterns(patterns)
    except EmptyDatasetError:
        return base, {}


def _leaves(pattern: str) -> bool:
    return "://" in pattern or pattern.startswith("/") or ".." in PurePosixPath(pattern).parts


def _configs(fs: Any, root: str) -> Mapping[str, Mapping[str, Any]]:
    """The subsets that the README describes."""
    readme = f"{root}/README.md"
    if not fs.isfile(readme):
        return {}
    try:
        return dict(MetadataConfigs.from_dataset_card_data(DatasetCard(fs.read_text(readme, encoding="utf-8")).data))
    except ValueError as error:
        raise SourceError(f"{readme}: its `configs` cannot be understood: {error}") from error


def _no_subset(fs: Any, root: str, subset: str, names: list[str]) -> str:
    if not names:
        names = [
            "default",
            *sorted(entry["name"].rpartition("/")[2] for entry in fs.ls(root) if entry["type"] == "directory"),
        ]
    close = difflib.get_close_matches(subset, names, n=5, cutoff=0.5)
    hint = f"close to it are {', '.join(close)}" if close else f"there are {', '.join(names[:20])}"
    more = "" if close or len(names) <= 20 else f" and {len(names) - 20} more"
    return (
        f"{root.removeprefix('hf://datasets/')} has no subset {subset!r}; {hint}{more}. Set `subset` of the source, or "
        "the language's `name_in_source`."
    )
