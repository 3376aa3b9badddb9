"""Files that can be trusted: artifacts, tables, and the digest of the code that made them."""
