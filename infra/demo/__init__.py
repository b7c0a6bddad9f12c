"""``make demo``: one real recording through the whole service on this machine, and what came of it."""
