"""Retrieval: queries and the documents that answer them, and which others each shall be told from."""
