"""Exports of a student to other runtimes, each with a certificate."""
