"""Stage: the teacher's vectors of the corpus."""
