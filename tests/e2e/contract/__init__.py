"""The contract's own code examples, word for word. Tests replace base URL, API key and file name, and nothing else."""
