// The input image: dropped anywhere on the page, pasted, chosen as a file, or taken from the gallery.

import { fetchResponse } from "./api.js";
import { find } from "./dom.js";
import { errorText } from "./error-messages.js";
import { announce, toast } from "./notifications.js";

const PREVIEW_SIDE = 256; // pixels of the shorter side of the small copy that previews send
const MAX_PREVIEW_BYTES = 512 * 1024; // up to which previews send the image itself
const SUPPORTED_TYPES = ["image/png", "image/jpeg", "image/webp"];
const area = find("#image-drop");
const box = find("#input-image");
const thumbnail = find("#input-image-thumbnail");
const fileInput = find("#image-file");

let turn = 0; // grows with each image that is set: a slow earlier one is ignored
let image = null;
let smallCopy = null;
let onChange = () => {};

export const onImageChange = (listener) => { onChange = listener; };
export const currentImage = () => image;

/** The image, or a small copy with the same aspect ratio: enough for a preview without uploading megabytes at each key. */
export const previewImage = () => smallCopy ?? image;

/** Sets the image, or null for none. Of a type that no provider accepts, such as GIF, the first frame is used. */
export async function setImage(file) {
  const current = ++turn;
  if (file && !SUPPORTED_TYPES.includes(file.type)) {
    const name = file.name || "This file";
    const frame = file.type.startsWith("image/") ? await toPng(file) : null;
    if (current !== turn) return;
    if (!frame) {
      reject(`${name} is not a readable image.`);
      return;
    }
    toast(`Providers do not accept ${file.type.split("/")[1].toUpperCase()}: using the first frame of ${name} as PNG.`);
    file = frame;
  }
  if (thumbnail.src) URL.revokeObjectURL(thumbnail.src);
  image = file;
  smallCopy = null;
  const focused = document.activeElement === fileInput;
  box.hidden = file === null;
  for (const part of [find(".image-choose", area), fileInput]) part.hidden = file !== null;
  fileInput.value = "";
  if (file === null) thumbnail.removeAttribute("src");
  else {
    thumbnail.src = URL.createObjectURL(file);
    find("#input-image-name").textContent = file.name || "Pasted image";
    if (focused) find("#remove-image").focus();
    announce("Input image added.");
    const copy = await shrink(file);
    if (image !== file) return; // removed or replaced meanwhile
    smallCopy = copy;
  }
  onChange();
}

/** Sets a file of the gallery as the image. */
export async function setImageFromUrl(url, name) {
  try {
    const blob = await (await fetchResponse(url)).blob();
    await setImage(new File([blob], name, { type: blob.type }));
  } catch (error) {
    toast(errorText(error), { error: true });
  }
}

const reject = (text) => toast(`${text} Choose a PNG, JPEG or WebP file.`, { error: true });

const shrink = (file) => (file.size <= MAX_PREVIEW_BYTES ? null : toPng(file, PREVIEW_SIDE));

/** The image as PNG, its shorter side at most `side` pixels; null for a type that this browser cannot decode. */
async function toPng(file, side = Infinity) {
  try {
    const bitmap = await createImageBitmap(file);
    const scale = Math.min(1, side / Math.min(bitmap.width, bitmap.height));
    const canvas = new OffscreenCanvas(Math.round(bitmap.width * scale), Math.round(bitmap.height * scale));
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    return new File([await canvas.convertToBlob({ type: "image/png" })], file.name || "image.png", { type: "image/png" });
  } catch {
    return null;
  }
}

thumbnail.addEventListener("error", () => {
  if (!image) return;
  reject(`${image.name || "This file"} is damaged or not an image.`);
  setImage(null);
});

fileInput.addEventListener("change", () => fileInput.files.length && setImage(fileInput.files[0]));
find("#remove-image").addEventListener("click", () => {
  setImage(null);
  fileInput.focus();
});

addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((each) => each.type.startsWith("image/"));
  const pastesText = event.target.matches?.("input, textarea") && event.clipboardData.getData("text/plain") !== ""; // office programs add an image of the text
  if (!file || pastesText || document.querySelector("dialog[open]")) return;
  event.preventDefault();
  setImage(file);
});

const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
let dragDepth = 0; // how many nested elements the dragged file is over

addEventListener("dragenter", (event) => {
  if (!hasFiles(event)) return;
  dragDepth += 1;
  area.classList.add("drag-over");
});
addEventListener("dragleave", (event) => {
  if (!hasFiles(event)) return;
  dragDepth -= 1;
  if (dragDepth <= 0) area.classList.remove("drag-over");
});
addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
addEventListener("drop", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  dragDepth = 0;
  area.classList.remove("drag-over");
  if (document.querySelector("dialog[open]")) return; // the dialog would hide the form
  if (event.dataTransfer.files.length) setImage(event.dataTransfer.files[0]);
});
