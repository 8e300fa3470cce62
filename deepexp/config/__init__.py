"""What a run is: its settings, level policy and protocol."""
