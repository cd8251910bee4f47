"""Whether machines are ready for a run: versions, tokens, resources and files, compared before anything is trained."""
