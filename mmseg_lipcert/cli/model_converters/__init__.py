"""Networks from elsewhere, and what is done to a checkpoint behind its training."""
