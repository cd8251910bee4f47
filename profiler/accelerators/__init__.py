"""What the layers of a network cost on an accelerator: cycles, kernel and data memory, and what it does not support."""
