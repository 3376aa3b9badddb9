"""Stage: student and teacher vectors on the Hub, for the target ``publish``."""
