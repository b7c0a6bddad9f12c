"""Adapters: the only code that talks to AWS, Modal and foreign servers."""
