"""Retrieval: queries, the documents that answer them, and the hard negatives of each."""
