"""How forecasts fare on scores they did not see: splits, proper scores, backtests."""
