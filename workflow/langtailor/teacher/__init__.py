"""Stage: the teacher, brought into the run."""
