"""Measures the operator on an API server and a Kafka."""
