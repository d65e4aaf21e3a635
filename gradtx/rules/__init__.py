"""Which leaf gets which answer: rules on paths, and the masks and labels that are made of them."""
