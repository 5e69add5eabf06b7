-- POST requests in turn; their bodies are files with the start of a name that the environment tells,
-- and the headers come from there, too. Prints one line of JSON at the end. Requests are built once,
-- before the first is sent.

local requests = {}

function init(arguments)
  for name, value in (os.getenv("WRK_HEADERS") or ""):gmatch("([^:\n]+): ([^\n]+)") do
    wrk.headers[name] = value
  end
  wrk.method = "POST"
  while true do
    local file = io.open(os.getenv("WRK_BODIES") .. (#requests + 1), "rb")
    if not file then break end
    requests[#requests + 1] = wrk.format(nil, nil, nil, file:read("*a"))
    file:close()
  end
end

local next_one = 0

function request()
  next_one = next_one % #requests + 1
  return requests[next_one]
end

function done(summary, latency, _)
  local e = summary.errors
  print(string.format(
    '{"requests":%d,"duration_us":%d,"failed":%d,"p50_us":%d,"p99_us":%d}',
    summary.requests, summary.duration, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
