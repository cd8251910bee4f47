"""A plug-in for hybridsplit: one strategy, one data source and one training mode, a file each."""
