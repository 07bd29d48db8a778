// The input image: dropped anywhere on the page, pasted, chosen as a file, or taken from what was made.

import { reach } from "./api.js";
import { find } from "./dom.js";
import { notice, say } from "./notifications.js";
import { inOneLine } from "./format.js";

const SMALL = 256; // pixels a side of the stand-in that is sent to ask what would happen
const LIGHT = 512 * 1024; // bytes below which the image itself is sent for that
const area = find("#drop");
const chosen = find("#chosen");
const shown = find("#chosen-image");
const file = find("#file");

const READ = ["image/png", "image/jpeg", "image/webp"];
let turn = 0; // grows with each image that is taken: one that took long is late
let picture = null;
let stand = null;
let changed = () => {};

export const onPicture = (hear) => { changed = hear; };
export const currentPicture = () => picture;

/** A small image of the same shape: enough to learn what would be rounded, without sending megabytes at each key. */
export const standIn = () => stand ?? picture;

/** Takes an image file, or null for none. Of one that no provider reads, such as a GIF, its first picture is taken. */
export async function take(given) {
  const mine = ++turn;
  if (given && !READ.includes(given.type)) {
    const name = given.name || "That";
    const first = given.type.startsWith("image/") ? await asPng(given) : null;
    if (mine !== turn) return;
    if (!first) {
      refuse(`${name} is no image that can be read here.`);
      return;
    }
    notice(`No provider reads ${given.type.split("/")[1].toUpperCase()}: the first picture of ${name} is taken, as PNG.`);
    given = first;
  }
  if (shown.src) URL.revokeObjectURL(shown.src);
  picture = given;
  stand = null;
  const focused = document.activeElement === file;
  chosen.hidden = given === null;
  for (const part of [find(".choose", area), file]) part.hidden = given !== null;
  file.value = "";
  if (given === null) shown.removeAttribute("src");
  else {
    shown.src = URL.createObjectURL(given);
    find("#chosen-name").textContent = given.name || "Pasted image";
    if (focused) find("#unchoose").focus();
    say("Image taken as the beginning.");
    const small = await smaller(given);
    if (picture !== given) return; // it was taken away or replaced meanwhile
    stand = small;
  }
  changed();
}

/** Takes a file of the gallery. */
export async function takeFrom(url, name) {
  try {
    const blob = await (await reach(url)).blob();
    await take(new File([blob], name, { type: blob.type }));
  } catch (trouble) {
    notice(inOneLine(trouble), { trouble: true });
  }
}

const refuse = (words) => notice(`${words} Choose a PNG, JPEG or WebP.`, { trouble: true });

const smaller = (given) => (given.size <= LIGHT ? null : asPng(given, SMALL));

/** The image as PNG, its shorter side of so many pixels at most; null for a kind that this browser cannot draw. */
async function asPng(given, side = Infinity) {
  try {
    const whole = await createImageBitmap(given);
    const scale = Math.min(1, side / Math.min(whole.width, whole.height));
    const canvas = new OffscreenCanvas(Math.round(whole.width * scale), Math.round(whole.height * scale));
    canvas.getContext("2d").drawImage(whole, 0, 0, canvas.width, canvas.height);
    whole.close();
    return new File([await canvas.convertToBlob({ type: "image/png" })], given.name || "image.png", { type: "image/png" });
  } catch {
    return null;
  }
}

shown.addEventListener("error", () => {
  if (!picture) return;
  refuse(`${picture.name || "That"} is broken, or no image.`);
  take(null);
});

file.addEventListener("change", () => file.files.length && take(file.files[0]));
find("#unchoose").addEventListener("click", () => {
  take(null);
  file.focus();
});

addEventListener("paste", (event) => {
  const given = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
  const written = event.target.matches?.("input, textarea") && event.clipboardData.getData("text/plain") !== ""; // office programs put a picture of the words beside them
  if (!given || written || document.querySelector("dialog[open]")) return;
  event.preventDefault();
  take(given);
});

const carries = (event) => event.dataTransfer?.types.includes("Files");
let inside = 0; // how many elements the dragged file is over, one within the other

addEventListener("dragenter", (event) => {
  if (!carries(event)) return;
  inside += 1;
  area.classList.add("over");
});
addEventListener("dragleave", (event) => {
  if (!carries(event)) return;
  inside -= 1;
  if (inside <= 0) area.classList.remove("over");
});
addEventListener("dragover", (event) => carries(event) && event.preventDefault());
addEventListener("drop", (event) => {
  if (!carries(event)) return;
  event.preventDefault();
  inside = 0;
  area.classList.remove("over");
  if (document.querySelector("dialog[open]")) return; // nobody would see where it went
  if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
});
