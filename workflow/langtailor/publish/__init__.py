"""Stage: student and teacher vectors on the Hub, where that is asked for."""
