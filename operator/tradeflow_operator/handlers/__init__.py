"""What meets Kubernetes' events, and the kinds: how each observes the world and carries its steps out."""
