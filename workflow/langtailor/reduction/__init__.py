"""Fewer layers and shorter vectors: the clone made smaller, as the student starts."""
