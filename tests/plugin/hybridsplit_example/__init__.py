"""A plug-in for hybridsplit, a file each: a strategy, a training mode, a data source, a link model, a model family."""
