"""Stage: the new tokenizer, written and certified."""
