"""Stage: text of every language, sampled from a source, cleaned, chunked, deduplicated and split."""
