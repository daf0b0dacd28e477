"""Real servers for tests, each installed, started, killed and paused behind one small interface."""
