"""Training: crops, the loss, the loop, the exact scale decoder, and the export of weights with their card."""
