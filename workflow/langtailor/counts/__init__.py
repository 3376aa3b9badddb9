"""Stage: how often each of the teacher's tokens occurs in each language."""
