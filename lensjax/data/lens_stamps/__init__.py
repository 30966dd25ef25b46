"""The TFDS data set `lens_stamps`; TensorFlow is imported by its builder module alone."""
