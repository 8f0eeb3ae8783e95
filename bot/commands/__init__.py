"""Questions about the bot itself: one file each."""
