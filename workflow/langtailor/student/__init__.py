"""Stage: the folder that users load."""
