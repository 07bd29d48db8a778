// What fields say, and a Trouble for what they cannot mean: what a field shows is what is meant, and nothing is passed over.

import { Trouble } from "./api.js";
import { LARGEST as LARGEST_SEED } from "./wish.js";
import { number } from "./words.js";

/** What a field says; a Trouble in the words of its label. */
export function checked(input) {
  const decimal = input.dataset.max !== undefined;
  const text = decimal ? input.value.trim().replace(",", ".") : input.value.trim(); // many write 2,5: a number field would read 25
  const wrong = text === "" && !input.validity.badInput ? null : decimal ? wrongDecimal(text, input.dataset) : input.name === "seed" ? wrongSeed(text) : wrongNumber(input);
  if (wrong) throw new Trouble(400, { code: "invalid_value", param: input.id, message: `“${input.labels[0].textContent}” ${wrong}.` });
  return text;
}

const range = (low, high) => `is from ${number(low)} to ${number(high)}`;
const wrongSeed = (text) => (/^\d{1,20}$/.test(text) && BigInt(text) <= LARGEST_SEED ? null : `is a whole number from 0 to ${LARGEST_SEED}`);

function wrongDecimal(text, { min, max }) {
  if (!/^-?(\d+\.?\d*|\.\d+)$/.test(text)) return "is no number";
  return Number(text) < Number(min) || Number(text) > Number(max) ? range(min, max) : null;
}

function wrongNumber({ validity, min, max }) {
  if (validity.badInput) return "is no number";
  if (validity.stepMismatch) return "is a whole number";
  return validity.rangeUnderflow || validity.rangeOverflow ? range(min, max) : null;
}

/** The text of a JSON object, read. */
export function object(text) {
  try {
    const read = JSON.parse(text);
    if (read && typeof read === "object" && !Array.isArray(read)) return read;
  } catch {
    // told below: it is the same for every way to be no object
  }
  throw new Trouble(400, { code: "invalid_value", param: "extra", message: 'The further parameters are no JSON object, such as {"strength": 0.7}.' });
}
