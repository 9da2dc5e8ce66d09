"""Whoever is on call is told when the bridge degrades, and when it has recovered: once each."""
