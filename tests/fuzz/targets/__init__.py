"""The targets, a file each; each has its ``TARGET``. Inputs are octets, so that any engine can mutate them."""
