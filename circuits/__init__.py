"""The algorithm inside trained arithmetic models: train them, define, locate, test and draw it."""
