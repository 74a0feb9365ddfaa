-- SPDX-License-Identifier: Apache-2.0
-- wrk: every request carries the next token of the file $TOKENS, from line $FIRST on. A second word on the line is a
-- DPoP proof that the token is bound to.
local requests, at = {}, 0
function init()
  local skip = tonumber(os.getenv("FIRST") or "0")
  for line in io.lines(os.getenv("TOKENS")) do
    if skip > 0 then
      skip = skip - 1
    else
      local token, proof = line:match("^(%S+) ?(%S*)$")
      local headers = { Host = wrk.host .. ":" .. wrk.port, Authorization = (proof ~= "" and "DPoP " or "Bearer ") .. token }
      if proof ~= "" then headers.DPoP = proof end
      requests[#requests + 1] = wrk.format("GET", wrk.path, headers)
    end
  end
end
function request()
  at = at % #requests + 1
  return requests[at]
end
