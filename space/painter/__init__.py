"""The painter: photographs in, paintings out, by classical image processing. Called by `app.py` alone."""
