"""Planning: the configuration of a run, an estimate of its cost, and the machine that plans it."""
