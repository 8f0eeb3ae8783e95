"""Questions about the data: one file each."""
