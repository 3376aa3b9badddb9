"""A table whose manifest was changed is refused, even where the rest of the file is whole."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from langtailor.errors import ArtifactError
from langtailor.storage.artifacts import Manifest
from langtailor.storage.tables import COUNTS, read_table, write_table


def test_a_manifest_that_was_changed_is_refused(tmp_path):
    path = tmp_path / "counts.parquet"
    table = pa.table({"token_id": [0, 1], "count": [3, 4]}, schema=COUNTS)
    write_table(path, table, Manifest("counts", facts={"words": 7}))
    assert read_table(path, "counts", COUNTS)[1].facts == {"words": 7}
    written = pq.read_table(path)
    changed = {key: value.replace(b'"words": 7', b'"words": 8') for key, value in written.schema.metadata.items()}
    assert changed != written.schema.metadata
    pq.write_table(written.replace_schema_metadata(changed), path)
    with pytest.raises(ArtifactError, match="a manifest that does not match its checksum"):
        read_table(path, "counts", COUNTS)
