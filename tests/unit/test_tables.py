"""Tables describe themselves and notice damage."""

import pyarrow as pa
import pytest

from langtailor.errors import ArtifactError
from langtailor.storage import tables
from langtailor.storage.artifacts import Manifest

ROWS = 2_000


def counts(path, kind="counts"):
    table = pa.table({"token_id": range(ROWS), "count": range(ROWS)}, schema=tables.COUNTS)
    tables.write_table(path, table, Manifest(kind, facts={"tokens": 7}))


def test_a_table_round_trips_with_its_manifest(tmp_path):
    counts(tmp_path / "tr.parquet")
    table, manifest = tables.read_table(tmp_path / "tr.parquet", "counts", tables.COUNTS)
    assert table.num_rows == ROWS
    assert manifest.facts == {"tokens": 7}


def test_equal_tables_have_equal_bytes(tmp_path):
    counts(tmp_path / "a.parquet")
    counts(tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_another_kind_or_schema_is_refused(tmp_path):
    counts(tmp_path / "tr.parquet")
    with pytest.raises(ArtifactError, match="'counts' table where 'corpus'"):
        tables.read_table(tmp_path / "tr.parquet", "corpus", tables.CORPUS)
    with pytest.raises(ArtifactError, match="other columns"):
        tables.read_table(tmp_path / "tr.parquet", "counts", tables.CORPUS)


def test_a_foreign_parquet_file_is_refused(tmp_path):
    pa.parquet.write_table(pa.table({"token_id": [1]}), tmp_path / "x.parquet")
    with pytest.raises(ArtifactError, match="not written by langtailor"):
        tables.read_table(tmp_path / "x.parquet", "counts", tables.COUNTS)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_a_flipped_byte_in_the_data_is_noticed(tmp_path, share):
    path = tmp_path / "tr.parquet"
    counts(path)
    data = bytearray(path.read_bytes())
    data[int(len(data) * share)] ^= 0x10
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"tr.parquet: .*damaged"):
        tables.read_table(path, "counts", tables.COUNTS)


@pytest.mark.parametrize("keep", [0, 3, 0.5, 0.99])
def test_a_truncated_file_is_noticed(tmp_path, keep):
    path = tmp_path / "tr.parquet"
    counts(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep if keep >= 1 else keep * len(data))])
    with pytest.raises(ArtifactError, match="missing or damaged"):
        tables.read_table(path, "counts", tables.COUNTS)
