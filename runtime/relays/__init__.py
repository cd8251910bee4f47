"""Training of a model that is cut several times: machines pass activations up and gradients down, hop by hop."""
