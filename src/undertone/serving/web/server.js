// Requests to the server that the page came from. What it refuses becomes an error whose message is a sentence.
import { refusal } from "./wording.js";

const LONG = 60;                          // seconds: longer recordings become jobs, where the server takes jobs
const POLL = 500;                         // milliseconds between two questions how far a job is

export const server = { about: null, models: [], form: new Set(), jobForm: new Set(), jobs: false };

export const token = () => sessionStorage.getItem("token") ?? "";
export const keepToken = (text) => sessionStorage.setItem("token", text.trim());

export class TokenNeeded extends Error {}

function bearer() {
  return token() ? { authorization: `Bearer ${token()}` } : {};
}

function refused(status, detail, retryAfter) {
  const limits = server.about?.limits ?? null;
  const message = refusal(status, detail, { hadToken: token() !== "", limits, retryAfter });
  return new (status === 401 ? TokenNeeded : Error)(message);
}

async function get(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: bearer() });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Error("The server does not answer.");
  }
  if (answer.ok) return answer;
  throw refused(answer.status, (await answer.json().catch(() => ({}))).detail, answer.headers.get("retry-after"));
}

const json = async (path, signal) => (await get(path, { signal })).json();

/** The model, its limits, and which fields the requests have. */
export async function introduce() {
  server.about = await json("v1/model");
  server.models = (await json("v1/models")).data;
  const { paths } = await json("openapi.json");
  const fields = paths["/v1/predict"].post.requestBody.content["multipart/form-data"].schema.properties;
  server.form = new Set(Object.keys(fields));
  server.jobForm = new Set((paths["/v1/jobs"]?.post?.parameters ?? []).map(({ name }) => name));
  server.jobs = Boolean(server.about.jobs ?? server.about.limits.job_seconds);
  return { about: server.about, examples: await json("v1/examples") };
}

export const canSplit = () => server.form.has("channels");
export const canRead = () => server.about?.asr === true && server.form.has("asr");

export async function exampleSound(name, signal) {
  return (await get(`v1/examples/${encodeURIComponent(name)}`, { signal })).blob();
}

/** Whether a recording is sent as a job: it is long, and jobs have all the fields that are set. */
export function asJob(seconds, fields) {
  return server.jobs && seconds !== null && seconds > LONG && Object.keys(fields).every((name) => server.jobForm.has(name));
}

/** The most seconds and bytes that one request, or one job, may have. */
export function limits(job) {
  const { limits: all } = server.about;
  return job ? { seconds: all.job_seconds ?? all.seconds, bytes: all.job_bytes ?? all.bytes } : all;
}

/** The answer for a sound (or null) and fields of text; `progress({ sent, total })`, then `progress({ share })`. */
export async function predict({ sound, name, fields, job }, signal, progress) {
  if (job) return predictAsJob({ sound, name, fields }, signal, progress);
  const form = new FormData();
  if (sound) form.append("file", sound, name);
  for (const [key, value] of Object.entries(fields)) form.append(key, value);
  return send("v1/predict", form, {}, signal, progress);
}

async function predictAsJob({ sound, name, fields }, signal, progress) {
  const query = new URLSearchParams({ id: name, ...fields });
  const kind = { "content-type": sound.type || "application/octet-stream" };
  const { id } = await send(`v1/jobs?${query}`, sound, kind, signal, progress);
  const place = `v1/jobs/${id}`;
  try {
    for (;;) {
      const job = await json(place, signal);
      if (job.status === "failed") throw refused(422, job.error);
      if (job.status === "done") return await json(`${place}/result`, signal);
      progress({ share: job.progress ?? 0 });
      await new Promise((resolve) => { setTimeout(resolve, POLL); });
    }
  } finally {
    get(place, { method: "DELETE", keepalive: true }).catch(() => {});      // nothing of it is kept
  }
}

/** XMLHttpRequest, because fetch does not state how much of a body has left. */
function send(path, body, headers, signal, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    request.open("POST", path);
    request.responseType = "json";
    for (const [name, value] of Object.entries({ ...headers, ...bearer() })) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded, total }) => progress({ sent: loaded, total });
    request.upload.onload = () => progress({ share: null });
    request.onload = () => {
      if (request.status >= 200 && request.status < 300) resolve(request.response);
      else reject(refused(request.status, request.response?.detail, request.getResponseHeader("retry-after")));
    };
    request.onerror = () => reject(new Error("The server does not answer."));
    request.onabort = () => reject(signal.reason);
    request.onloadend = () => signal.removeEventListener("abort", abort);
    signal.addEventListener("abort", abort);
    signal.throwIfAborted();
    request.send(body);
  });
}
