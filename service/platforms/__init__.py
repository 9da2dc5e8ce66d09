"""The two platforms. They never import each other; what they share is `transport`, `judging` and `payload`."""
