"""How fast a network runs here: contenders measured in turn, each checked against float64 first, beside the limit."""
