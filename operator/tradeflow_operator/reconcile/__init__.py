"""Decisions without effects: no kopf, no Kubernetes, no Kafka, no HTTP; `now` comes in as an argument."""
