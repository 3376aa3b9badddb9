"""Stage: which tokens the student has."""
