"""Stage: the teacher with the new vocabulary."""
