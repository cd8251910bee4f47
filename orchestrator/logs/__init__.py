"""Rounds written where a team looks at its runs: TensorBoard, MLflow."""
