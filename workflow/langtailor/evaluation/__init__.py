"""Evaluation: teacher, clone and student on the same tasks, with intervals that say what is noise."""
