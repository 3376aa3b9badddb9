"""Tokenizer surgery: one module per tokenizer family behind the protocol of :mod:`langtailor.surgery.base`."""
