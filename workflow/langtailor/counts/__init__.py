"""Stage: how often each language uses each of the teacher's tokens."""
