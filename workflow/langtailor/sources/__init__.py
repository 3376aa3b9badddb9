"""Where data comes from: the Hub, the user's tables, sentence pairs with scores."""
