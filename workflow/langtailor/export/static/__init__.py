"""Models without an encoder: one vector per token."""
