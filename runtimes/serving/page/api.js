// Calls of the server's public HTTP API. Whatever goes wrong becomes an ApiError in plain words.

const KEY = "kilnx-token";

export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

// Paths are relative to the page: behind a proxy the server may live under a prefix.
export async function call(path, { method = "GET", body } = {}) {
  const headers = {};
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const start = performance.now();
  let answer, text;
  try {
    answer = await fetch(path, { method, headers, body, cache: "no-store", redirect: "error" });
    text = await answer.text();
  } catch {
    throw new ApiError("The server cannot be reached. Is it still running?", 0);
  }
  const ms = performance.now() - start;
  const found = parsed(text);
  if (!answer.ok) throw new ApiError(words(answer, found), answer.status);
  if (found === undefined && text) throw new ApiError(`${path} did not answer with JSON.`, answer.status);
  return { found, ms };
}

export function modelPath({ name, version }) {
  const model = `v2/models/${encodeURIComponent(name)}`;
  return version ? `${model}/versions/${encodeURIComponent(version)}` : model;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function words(answer, found) {
  const said = typeof found?.error === "string" ? found.error : "";
  switch (answer.status) {
    case 401: return said || "The server wants a token.";
    case 403: return said || "The server does not allow that.";
    case 413: return said || "The request is larger than the server takes.";
    case 429: return `The server is busy${wait(answer)}. ${said}`.trim();
    case 503: return `The server or the model is not ready. ${said}`.trim();
    case 504: return `The answer took longer than the server allows. ${said}`.trim();
    default: return said || `The server answered with status ${answer.status}.`;
  }
}

function wait(answer) {
  const ms = Number(answer.headers.get("Retry-After-Ms"));
  return ms > 0 ? `; it asks to try again in ${ms} ms` : "";
}
