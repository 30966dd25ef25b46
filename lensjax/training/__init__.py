"""From checked stamps to evaluation arrays: preprocessing, model, step, loop, evaluation."""
