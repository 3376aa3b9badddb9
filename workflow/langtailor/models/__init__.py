"""Sentence-transformers folders: what they say of themselves, how they are loaded, and encoding with them."""
