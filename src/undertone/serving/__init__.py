"""Models in people's hands: predictor, timeline, server, page. Never imports training or evaluation."""
