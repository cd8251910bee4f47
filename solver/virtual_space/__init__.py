"""Plan an inference task: which range of layers of every app runs on which device of a virtual space."""
