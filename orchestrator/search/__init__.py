"""Which model to train: variants planned each for itself, judged before and after training, and their front."""
