"""Transformers models as ordered blocks that a cut may fall between."""
