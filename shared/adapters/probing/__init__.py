"""Duration, codec and channels of a recording from as few of its bytes as possible, in pure Python."""
