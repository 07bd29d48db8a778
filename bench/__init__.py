"""How long the main paths take, beside the bare floor and a peer. Times are ratios within one run."""
