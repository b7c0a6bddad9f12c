"""The domain: pure rules and values. Imports nothing but the standard library."""
