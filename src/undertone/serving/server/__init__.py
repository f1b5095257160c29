"""The service: REST, a WebSocket stream, jobs and a page over one model.

connections ─ how many, how long without a request, how long the headers
protection  ─ every check that needs no model, in front of everything (tokens, hosts); exchange ─ one request
app         ─ the routes, put together
  routes    ─ requests in, predictions out        stream ─ the WebSocket
  job_routes ─ long recordings (long_jobs, fetching)
  body      ─ what a request's body holds          page   ─ the static files
  decoding  ─ sound from bytes, in another process (worker)
  models    ─ several models, replaced while requests go on
  transcriptions ─ words with emotions (listening)
  batching  ─ single clips into batches for the model
  turns     ─ long work lets short work between
metrics · logs ─ what happened, without transcripts
run         ─ uvicorn, signals, shutdown
"""
