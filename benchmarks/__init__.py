"""What answers cost: beside the same question as a plain script, and at growing sizes."""
