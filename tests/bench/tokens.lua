-- SPDX-License-Identifier: Apache-2.0
-- wrk: every request carries the next token of the file $TOKENS, from line $FIRST on.
local requests, at = {}, 0
function init()
  local skip = tonumber(os.getenv("FIRST") or "0")
  for line in io.lines(os.getenv("TOKENS")) do
    if skip > 0 then
      skip = skip - 1
    else
      requests[#requests + 1] = wrk.format("GET", wrk.path, { Host = wrk.host .. ":" .. wrk.port, Authorization = "Bearer " .. line })
    end
  end
end
function request()
  at = at % #requests + 1
  return requests[at]
end
