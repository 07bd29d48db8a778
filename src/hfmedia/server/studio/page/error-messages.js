// Error messages: what happened, what the server or provider said, and what to do next.

import { sentence } from "./format.js";

// By the server's error code; tests/studio/test_error_codes.py checks that the server sends each of them.
const BY_CODE = {
  invalid_value: ["Check your input.", ""],
  no_credential: ["The gateway has no Hugging Face token.", "Ask its administrator to set HF_TOKEN on the gateway."],
  credential_refused: ["Hugging Face rejected the gateway's token.", "Ask the administrator to check that it is valid and may use Inference Providers."],
  insufficient_quota: ["There is no credit left.", "Add credit at Hugging Face, or choose a provider with its own account."],
  not_in_doubt: ["This job is no longer in doubt.", "Its card shows what became of it."],
  rate_limit_exceeded: ["Too many requests.", "Wait a moment, then try again."],
  too_many_jobs: ["Too many jobs are running.", "Wait until some of them finish, then try again."],
  provider_busy: ["The provider is busy.", "Wait a moment, or choose another provider."],
  model_not_found: ["Model not found.", "Choose another one from the list."],
  model_not_supported: ["No provider runs this model for this task right now.", "Choose another model or task."],
  model_not_allowed: ["Your API key may not use this model.", "Choose another one, or ask the gateway's administrator."],
  moderation_blocked: ["The provider rejected this content.", "Change the prompt or the image."],
  storage_failed: ["The gateway could not write to its disk.", "Free up space there; the job can be resumed."],
  hub_unavailable: ["Hugging Face is unreachable.", "Try again in a moment."],
  too_large: ["The image is too large.", "Choose a smaller one."],
};
const LIMIT_REACHED = ["You have reached your limit.", "Wait until it resets, or ask the gateway's administrator for more."];
const BY_STATUS = {
  0: ["The gateway is not responding.", "It may be restarting, or your connection may be down. Running jobs continue; try again in a moment."],
  402: BY_CODE.insufficient_quota,
  403: ["This is not allowed.", "Ask the gateway's administrator."],
  404: ["This no longer exists.", "Reload the page to see the current state."],
  413: BY_CODE.too_large,
  429: BY_CODE.rate_limit_exceeded,
  502: ["The provider failed.", "Try again, or choose another provider."],
  503: ["The gateway cannot do this right now.", "Try again in a moment."],
};
const OTHER = ["Something went wrong.", "Try again; if it keeps failing, the gateway's log has the details."];

/** Explains an error: `summary`, the server's `message`, and a `hint` what to do next. */
export function explainError(error) {
  const [summary, hint] = (error.limit ? LIMIT_REACHED : BY_CODE[error.code]) ?? BY_STATUS[error.status] ?? OTHER;
  return { summary, message: error.status === 0 ? "" : sentence(error.message), hint };
}

/** The explanation in one line. */
export function errorText(error) {
  const { summary, message, hint } = explainError(error);
  return [summary, message, hint].filter(Boolean).join(" ");
}
