"""What SPIRT's peers and GuanYu's nodes have in common as Flower nodes that are started once and last for a run."""
