"""The configuration, described once: one file a section of the YAML."""
