"""What quantization costs in accuracy: on a small encoder, on published outlier statistics, on a user's own LLM."""
