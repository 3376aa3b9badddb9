"""Reading tables of the Hub: all layouts that the package ``datasets`` understands."""

from __future__ import annotations

from collections.abc import Sequence

from langtailor.errors import SourceError
from langtailor.sources.table_files import Column, Table, table_of


def read_hub_table(
    dataset: str,
    subset: str | None,
    split: str,
    revision: str,
    columns: Sequence[Column],
    optional: Sequence[Column] = (),
) -> Table:
    """Some columns of a split of a data set.

    Args:
        dataset: ``owner/name``.
        subset: its configuration; ``None`` where it has one.
        split: name of the split; ``train[:1000]`` for its first rows.
        revision: branch, tag or commit.
        columns: their names.
        optional: columns that it need not have.

    Raises:
        HubError: the data set or the revision does not exist, access is refused, or the Hub cannot be reached.
        SourceError: there is no such subset, split or column, or the files cannot be read.
    """
    # Planning imports this module; the Hub's client is needed where a table is read.
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    from langtailor.sources.hub import resolve_revision

    commit = resolve_revision(dataset, "dataset", revision)
    try:
        rows = load_dataset(dataset, subset, split=split, revision=commit)
    except (DatasetsError, ValueError, OSError) as error:
        raise SourceError(f"{dataset}: subset {subset}, split {split!r} cannot be read: {error}") from error
    return table_of(dataset, "row", enumerate(rows, start=1), columns, optional)
