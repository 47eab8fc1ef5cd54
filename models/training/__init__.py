"""Training: crops, the loss, the loop, integers and tables, and the export of weights and card."""
