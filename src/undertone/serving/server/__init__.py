"""The service: REST, a WebSocket stream and a page over one model.

protection ─ every check that needs no model, in front of everything
app        ─ the routes, put together
  routes   ─ requests in, predictions out        stream ─ the WebSocket
  body     ─ what a request's body holds          page   ─ the static files
  decoding ─ sound from bytes, in another process (worker)
  batching ─ single clips into batches for the model
metrics · logs ─ what happened, without transcripts
run        ─ uvicorn, signals, shutdown
"""
