"""The pure middle: no IO, no clock, no randomness, no logging; the standard library alone."""
