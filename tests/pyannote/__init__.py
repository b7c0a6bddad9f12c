"""pyannote's true code path. Not collected by `make test`: it needs torch (`make test-pyannote`)."""
